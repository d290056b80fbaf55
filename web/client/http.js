// Requests over HTTP, for a client without a connection: to renew, and to leave.

/** @import { Platform } from "./platform.js" */
/** @import { Push } from "./protocol.js" */
/** @import { ResumeToken } from "./resume.js" */

import { hasBundle } from "./protocol.js";

/**
 * The service's answer: tokens, or that there are none any more, or that it can't
 * say now; retryInMs is 0 where it did not say when to come back.
 * @typedef {{push?: Push, over?: {status: number, reason: string, message: string, accessEndsAt: number}, retryInMs?: number}} Answer
 */

/**
 * What a request needs to know of the service.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's, without http or ws
 */

/**
 * @param {Parts} parts
 * @param {string} session
 * @param {"renew" | "leave"} action
 * @param {object} body
 * @param {object} init what else the request has
 */
function post({ platform, address }, session, action, body, init) {
  return platform.fetch(`http${address}/v1/sessions/${encodeURIComponent(session)}/${action}`, { method: "POST", body: JSON.stringify(body), ...init });
}

/**
 * Asks for fresh tokens. Rejects if there was no answer, or not one of the service.
 * @param {Parts} parts
 * @param {ResumeToken} token
 * @param {any} signal an AbortSignal
 * @returns {Promise<Answer>}
 */
export async function renewByHttp(parts, { session, key, ...body }, signal) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const response = await post(parts, session, "renew", body, { headers, signal });
  if (response.status === 200) {
    const push = await response.json();
    if (hasBundle(push)) return { push };
  }
  if (response.status === 429 || response.status >= 500) {
    return { retryInMs: Number(response.headers.get("retry-after")) * 1000 || 0 };
  }
  // A proxy's own refusal has another form, and says nothing of the session.
  const problem = response.status === 404 || response.status === 410 ? await response.json().catch(() => null) : null;
  const reason = problem?.reason ?? problem?.code;
  if (!reason) throw new Error(`HTTP status ${response.status}`);
  return {
    over: {
      status: response.status,
      reason: `${reason}`,
      message: `${problem.error ?? ""}`,
      accessEndsAt: Number(problem.accessEndsAt) || 0,
    },
  };
}

/**
 * Ends a session. It is a request that browsers send to another origin without asking
 * before, and after the page is gone. Rejects if the service did not end the session.
 * @param {Parts} parts
 * @param {ResumeToken} token
 */
export async function leaveByHttp(parts, { session, ...body }) {
  const { status } = await post(parts, session, "leave", body, { keepalive: true });
  if (status >= 400) throw new Error(`HTTP status ${status}`);
}
