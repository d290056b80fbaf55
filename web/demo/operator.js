// An operator's actions on a person's session, by the service's API. These requests do not use the person's own
// network.

/** @import { Participant } from "./participant.js" */

import { request } from "./api.js";
import { message } from "./reasons.js";

const refusedForSeconds = 60;

/**
 * Grants or withdraws the right to publish.
 * @param {Participant} p
 */
export async function changeRole(p) {
  const role = p.role === "publisher" ? "subscriber" : "publisher";
  p.log("act", role === "publisher" ? "Operator: promote to publisher" : "Operator: make audience", "new tokens are pushed at once");
  const answer = await send(p, "PATCH", `v1/sessions/${p.refresher?.session}`, { rtc: { role } });
  if (answer) await p.wantRole(role);
}

/**
 * Ends the session, and makes the service refuse the person for some time.
 * @param {Participant} p
 */
export async function revoke(p) {
  const { channel, uid } = p;
  p.log("act", "Operator: revoke", `for ${refusedForSeconds} s`);
  const answer = await send(p, "POST", "v1/revocations", { channel, uid, for: refusedForSeconds });
  p.revokedUntil = answer?.until ?? 0;
  p.onchange();
}

/**
 * @param {Participant} p
 * @param {string} method
 * @param {string} path
 * @param {object} body
 */
async function send(p, method, path, body) {
  try {
    return await request(path, { method, body });
  } catch (error) {
    p.log("bad", "The operator’s request failed", message(error));
    return null;
  }
}
