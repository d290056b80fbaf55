import type { Identity } from "./protocol.js";
import type { Options } from "./refresher.js";
/** @import { Identity } from "./protocol.js" */
/** @import { Options } from "./refresher.js" */
import { Refresher } from "./refresher.js";
/**
 * Makes a second Refresher that belongs to the first: it ends when the first ends, for
 * whatever reason, and is left or closed with it. It may end or leave by itself. It has
 * a session and a connection of its own. What goes wrong with it is also an event of
 * the first, so that an app handles it in one place.
 * @param {Refresher} first
 * @param {Identity & Options} options those of the first Refresher, with the second identity
 * @returns {Refresher} its events refused, lost and error are also events of the first, with its identity in `identity`; the error is a new one, whose `cause` is the second's
 */
export declare function also(first: Refresher, options: Identity & Options): Refresher;
