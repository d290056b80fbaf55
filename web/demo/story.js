// How the call is for one person, and why, in a sentence or two. The words change
// when the story does, and not with each second.

/** @import { Participant } from "./participant.js" */

import { clock } from "./format.js";

/** @param {Participant} p */
export function story(p) {
  const ends = clock(p.expiresAt * 1000);
  if (p.call === "reconnecting") {
    return p.leftMs() > 0
      ? `Cut off at ${clock(p.outSince)}: ${p.why}. The call goes on if it is back before ${ends}.`
      : `Cut off at ${clock(p.outSince)}: ${p.why}, and the token ran out at ${ends}. Once back, it needs a fresh one.`;
  }
  return p.call === "in" ? inCall(p, ends) : outOfCall(p);
}

/**
 * @param {Participant} p
 * @param {string} ends
 */
function inCall(p, ends) {
  if (!p.refresher) return `Nobody renews this token now: the call drops at ${ends}.`;
  if (p.ended) return `The session is over (${p.ended.reason}). The call goes on until its token ends at ${ends}.`;
  if (p.refusing) return `In the call, but the SDK refuses each token: it is dropped at ${ends}, and then joins again.`;
  if (p.state !== "live") return `In the call. The service is out of reach; the token in use lasts until ${ends}.`;
  const since = `since ${clock(p.inSince)}`;
  if (!p.sending && p.role !== "publisher") return `In the call ${since}, as audience: the token does not allow to send.`;
  const kept = p.renewals ? " Each token since was replaced before it ran out." : "";
  return p.outSince && p.outSince < p.inSince ? `Back in the call ${since}.${kept}` : `In the call ${since}.${kept}`;
}

/** @param {Participant} p */
function outOfCall(p) {
  const { ended } = p;
  if (ended?.reason === "revoked" && ended.accessEndsAt && p.inSince) { // else it is a return that was refused
    const works = ended.accessEndsAt * 1000 > p.outSince ? `; this one works until ${clock(ended.accessEndsAt * 1000)}` : "";
    return `Ended by an operator at ${clock(p.outSince)}. Agora cannot take a token back${works}.`;
  }
  if (ended) {
    const until = p.revokedUntil * 1000 > p.now() ? ` until ${clock(p.revokedUntil * 1000)}` : "";
    return barredReason(ended.reason) ? `The service refuses ${p.name}${until}: ${ended.message || ended.reason}.` : `The session is over: ${ended.message || ended.reason}.`;
  }
  if (p.drops && p.why) return `Dropped at ${clock(p.outSince)}: ${p.why}.`;
  if (p.why) return `Not in the call: ${p.why}.`;
  return p.state === "connecting" ? "Asking the service for a token." : "Joining the call.";
}

/** @param {string} reason */
const barredReason = (reason) => ["revoked", "denied", "forbidden"].includes(reason);
