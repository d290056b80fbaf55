// A second identity of the same person in one call: a screen share with a uid of its
// own, or a second channel.

/** @import { Identity } from "./protocol.js" */
/** @import { Options } from "./refresher.js" */

import { Refresher } from "./refresher.js";

/** What goes wrong with the second Refresher, so that an app handles it in one place. */
const forwarded = /** @type {const} */ (["refused", "lost", "error"]);

/**
 * Makes a second Refresher that belongs to the first: it ends when the first ends, for
 * whatever reason, and is left or closed with it. It may end or leave by itself. It has
 * a session and a connection of its own.
 * @param {Refresher} first
 * @param {Identity & Options} options those of the first Refresher, with the second identity
 * @returns {Refresher} its events refused, lost and error are also events of the first, with its identity in `identity`
 */
export function also(first, options) {
  const second = new Refresher(options);
  const { identity } = second;
  for (const event of forwarded) {
    second.on(event, (/** @type {any} */ detail) => first.emit(event, Object.assign(Object(detail), { identity })));
  }
  const end = (/** @type {string} */ reason) => (reason === "closed" ? second.close() : second.leave());
  first.on("ended", ({ reason }) => end(reason));
  if (first.state === "ended") end("closed");
  return second;
}
