// A second Refresher of the same person in one call: for a screen share with a uid of its own, or for a second
// channel.

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
export function also(first, options) {
  const second = new Refresher(options);
  const { identity } = second;
  // A detail that already has an identity is about a third Refresher, which `also` added to the second.
  second.on("refused", (refusal) => first.emit("refused", { identity, ...refusal }));
  second.on("lost", (loss) => first.emit("lost", { identity, ...loss }));
  // Both Refreshers may fail with the same error object, or with a frozen one. So this code copies the error
  // instead of changing it.
  second.on("error", (/** @type {any} */ error) => {
    const { message = `${error}`, code } = Object(error);
    first.emit("error", error?.identity ? error : Object.assign(new Error(message), { code, identity, cause: error }));
  });
  const end = (/** @type {string} */ reason) => (reason === "closed" ? second.close() : second.leave());
  second.on("ended", first.on("ended", ({ reason }) => end(reason)));
  if (first.state === "ended") end("closed");
  return second;
}
