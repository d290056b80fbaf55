// Requests over HTTP, to renew and to leave without a connection.

/** @import { Platform } from "./platform.js" */
/** @import { Push } from "./protocol.js" */
/** @import { ResumeToken } from "./resume.js" */

import { hasBundle } from "./protocol.js";

/**
 * The service's answer. `push` has tokens; `over` means that the session gets no more tokens. An answer with
 * neither means that the service is unavailable: `retryInMs` is its Retry-After, or 0.
 * @typedef {{push?: Push, over?: {status: number, reason: string, message: string, accessEndsAt: number}, retryInMs?: number}} Answer
 */

/**
 * The session's members that a request uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
 */

/**
 * @param {Parts} parts
 * @param {string} session
 * @param {"renew" | "leave"} action
 * @param {object} body
 * @param {object} init the other options of fetch
 */
function post({ platform, address }, session, action, body, init) {
  return platform.fetch(`http${address}/v1/sessions/${encodeURIComponent(session)}/${action}`, { method: "POST", body: JSON.stringify(body), ...init });
}

/**
 * Requests new tokens. Rejects if there is no answer, or if the answer is not the service's (such
 * as a proxy's error page).
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
  // A proxy's refusal has a body of another form, and says nothing about the session.
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
 * Ends a session. Browsers send this request without a CORS preflight, and complete it even after
 * the page is gone. Rejects if the service did not end the session.
 * @param {Parts} parts
 * @param {ResumeToken} token
 */
export async function leaveByHttp(parts, { session, ...body }) {
  const { status } = await post(parts, session, "leave", body, { keepalive: true });
  if (status >= 400) throw new Error(`HTTP status ${status}`);
}
