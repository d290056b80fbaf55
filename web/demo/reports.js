// Writes the library's events into a person's timeline.

/** @import { Events, Refresher } from "./client/index.js" */
/** @import { Participant } from "./participant.js" */

import { brief, seconds } from "./format.js";
import { causes, message } from "./reasons.js";

/**
 * @param {Participant} p
 * @param {Refresher} refresher
 */
export function logReports(p, refresher) {
  refresher.on("state", ({ state, previous }) => {
    if (state === "live") p.log("note", previous === "away" ? "Connected to the service again" : "Connected to the service");
    p.onchange();
  });
  refresher.on("refused", ({ code }) => p.log("bad", "The SDK refused a token", `${code}: the service makes another`));
  refresher.on("lost", ({ reason, retryInMs }) => {
    const what = refresher.state === "away" ? "Connection to the service lost" : "The service is not reached";
    p.log("bad", what, `${reason}; trying again in ${brief(retryInMs)}`, "lost");
  });
  refresher.on("error", (error) => {
    const fromService = error instanceof Error && "code" in error;
    p.log("note", fromService ? "The service says" : "Failed, and is tried again", message(error), fromService ? "" : "failed");
  });
}

/**
 * Logs a new token.
 * @param {Participant} p whose token record does not have the new token yet
 * @param {Events["renewed"]} renewal
 * @param {number} marginMs remaining life of the old token in milliseconds; 0 if it had expired
 */
export function logRenewal(p, { cause, via, tookMs }, marginMs) {
  const first = cause === "join" ? "The first token" : "A first token";
  const another = p.token.expiresAt && cause !== "join" ? "A token to join again with" : first;
  const what = marginMs > 0 ? `Renewed on time, ${seconds(marginMs)} to spare` : another;
  p.log("good", what, `${causes[cause] ?? cause}; confirmed in ${brief(tookMs)}${via === "http" ? ", over HTTP" : ""}`);
}
