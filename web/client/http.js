// The way out for a client whose WebSocket is blocked: a renewal is one request.

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
 * Asks for fresh tokens. Rejects if there was no answer, or not one of the service.
 * @param {Platform} platform
 * @param {string} url of the sessions
 * @param {ResumeToken} token
 * @param {any} signal an AbortSignal
 * @returns {Promise<Answer>}
 */
export async function renewByHttp(platform, url, { session, key, seq, expiresAt }, signal) {
  const response = await platform.fetch(`${url}/${encodeURIComponent(session)}/renew`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ seq, expiresAt }),
    signal,
  });
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
