// Texts for the reasons of events, for the timeline and the status line.

/** @import { Participant } from "./participant.js" */

/** The reasons after which the app leaves the call at once, although its tokens still work for some time. */
export const accessRefused = new Set(["revoked", "denied", "forbidden"]);

/** The text for each cause of a new token. @type {Record<string, string>} */
export const causes = {
  join: "for a new session",
  resume: "the session was resumed",
  schedule: "on schedule",
  renew: "asked for",
  nack: "another, after a refusal (nack)",
  role: "for another role",
  certificate: "signed with the new certificate",
};

/**
 * Returns why a session ended, as the end of a sentence.
 * @param {string} reason as the service gives it
 */
export function whyEnded(reason) {
  if (reason === "revoked") return "an operator ended it";
  return accessRefused.has(reason) ? "the service refuses" : `the session is over: ${reason}`;
}

/**
 * Returns why the person is out of the call, as the end of a sentence.
 * @param {Participant} p whose call record has not changed yet
 * @param {string} [reason] as in the SDK's ConnectionDisconnectedReason
 */
export function whyLeft(p, reason) {
  if (reason === "TOKEN_EXPIRE") return whyExpired(p);
  if (reason === "UID_BANNED") return "somebody else joined with the same uid";
  if (reason === "LEAVE") return p.ended ? whyEnded(p.ended.reason) : `${p.name} left`;
  return "the edge did not take the token";
}

/** @param {Participant} p */
function whyExpired(p) {
  if (!p.refresher) return "the token ran out, and nobody renewed it";
  if (p.call.state === "reconnecting") {
    const valid = p.refresher.expiresAt * 1000 > p.refresher.now();
    return valid ? "the edge did not take the token" : "the token ran out while the network was down";
  }
  if (p.refusing) return "the token ran out, and the SDK had refused the new ones";
  if (p.ended) return "the token ran out, and the session was over";
  return p.state === "live" ? "the token ran out" : "the token ran out while the service was out of reach";
}

/** @param {unknown} error */
export const message = (error) => (error instanceof Error ? error.message : String(error));
