import type { Identity } from "./protocol.js";
import type { Options } from "./refresher.js";
/** @import { Identity } from "./protocol.js" */
/** @import { Options } from "./refresher.js" */
import { Refresher } from "./refresher.js";
/**
 * Makes a second Refresher that belongs to the first. When the first leaves, or the service ends
 * it, the second leaves; when the first is closed, the second is closed. The second may also end or
 * leave alone. It has a session and a connection of its own. The events about its failures are also
 * events of the first, so that an app handles them in one place.
 * @param {Refresher} first
 * @param {Identity & Options} options the options of the first Refresher, with the second identity
 * @returns {Refresher} its events refused, lost and error are also events of the first, with its identity in `identity`; that error is a new one, whose `cause` is the second's error
 */
export declare function also(first: Refresher, options: Identity & Options): Refresher;
