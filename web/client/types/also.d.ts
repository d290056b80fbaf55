import type { Identity } from "./protocol.js";
import type { Options } from "./refresher.js";
/** @import { Identity } from "./protocol.js" */
/** @import { Options } from "./refresher.js" */
import { Refresher } from "./refresher.js";
/**
 * Makes a second Refresher, with a session and a connection of its own. When the first Refresher leaves, or the
 * service ends its session, the second leaves; when the first is closed, the second is closed. If the second
 * ends or leaves, the first goes on. The first also emits the second's events about failures, so that an app
 * handles them in one place.
 * @param {Refresher} first
 * @param {Identity & Options} options the options of the first Refresher, with the second identity
 * @returns {Refresher} the second Refresher. The first also emits its events refused, lost and error, with the second identity in `identity`; that error is a new Error, whose `cause` is the second's error
 */
export declare function also(first: Refresher, options: Identity & Options): Refresher;
