// A second identity of the same person in one call: a screen share with a uid of its
// own, or a second channel.

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
export function also(first, options) {
  const second = new Refresher(options);
  const { identity } = second;
  // A detail that has an identity is about a third Refresher, which belongs to the second.
  second.on("refused", (refusal) => first.emit("refused", { identity, ...refusal }));
  second.on("lost", (loss) => first.emit("lost", { identity, ...loss }));
  // The app may reject with the same error for both, or with a frozen one, so it is not changed.
  second.on("error", (/** @type {any} */ error) => {
    const { message = `${error}`, code } = Object(error);
    first.emit("error", error?.identity ? error : Object.assign(new Error(message), { code, identity, cause: error }));
  });
  const end = (/** @type {string} */ reason) => (reason === "closed" ? second.close() : second.leave());
  second.on("ended", first.on("ended", ({ reason }) => end(reason)));
  if (first.state === "ended") end("closed");
  return second;
}
