// Describes one person's call, and the reason for its state, in one or two sentences. The text changes only
// with the state, since a screen reader reads each change.

/** @import { Participant } from "./participant.js" */

import { clock } from "./format.js";
import { accessRefused } from "./reasons.js";

/** @param {Participant} p */
export function statusText(p) {
  const { call } = p;
  const expires = clock(p.token.expiresAt * 1000);
  if (call.state === "in") return inCall(p, expires);
  if (call.state === "out") return outOfCall(p);
  return p.leftMs() > 0
    ? `Cut off at ${clock(call.outSince)}: ${call.reason}. The call goes on if it is back before ${expires}.`
    : `Cut off at ${clock(call.outSince)}: ${call.reason}, and the token ran out at ${expires}. Once back, it needs a fresh one.`;
}

/**
 * @param {Participant} p
 * @param {string} expires
 */
function inCall(p, expires) {
  const { inSince, outSince } = p.call;
  if (!p.refresher) return `Nobody renews this token now: the call drops at ${expires}.`;
  if (p.ended) return `The session is over (${p.ended.reason}). The call goes on until its token ends at ${expires}.`;
  if (p.refusing) return `In the call, but the SDK refuses each token: it is dropped at ${expires}, and then joins again.`;
  if (p.state !== "live") return `In the call. The service is out of reach; the token in use lasts until ${expires}.`;
  if (!p.sending && p.role !== "publisher") return `In the call since ${clock(inSince)}, as audience: the token does not allow to send.`;
  const kept = p.token.renewals ? " Each token since was replaced before it ran out." : "";
  return `${outSince && outSince < inSince ? "Back in" : "In"} the call since ${clock(inSince)}.${kept}`;
}

/** @param {Participant} p */
function outOfCall(p) {
  const { call, ended } = p;
  // If inSince is 0, the person was never in the call: the service refused to resume the session of an earlier
  // page.
  if (ended?.reason === "revoked" && ended.accessEndsAt && call.inSince) {
    const works = ended.accessEndsAt * 1000 > call.outSince ? `; this one works until ${clock(ended.accessEndsAt * 1000)}` : "";
    return `Ended by an operator at ${clock(call.outSince)}. Agora cannot take a token back${works}.`;
  }
  if (ended) {
    const until = p.revokedUntil * 1000 > p.now() ? ` until ${clock(p.revokedUntil * 1000)}` : "";
    const what = accessRefused.has(ended.reason) ? `The service refuses ${p.name}${until}` : "The session is over";
    return `${what}: ${ended.message || ended.reason}.`;
  }
  if (call.drops && call.reason) return `Dropped at ${clock(call.outSince)}: ${call.reason}.`;
  if (call.reason) return `Not in the call: ${call.reason}.`;
  return p.state === "connecting" ? "Asking the service for a token." : "Joining the call.";
}
