// The words of refresher.v1, as docs/protocol.md has them. Expiries are Unix
// seconds and `now` is Unix milliseconds, both by the server's clock.

export const subprotocol = "refresher.v1";

const final = new Set([4400, 4401, 4403, 4404, 4409, 4410, 4429]);

/**
 * Whether a close is the end of the session, rather than of the connection alone: after
 * any other the client backs off, connects again, and resumes or joins. Proxies send
 * 1000, 1007 and 1009 too, so these count only after the server's own word. The
 * test holds this to the table of close codes in docs/protocol.md.
 * @param {number} code
 * @param {string} [last] the type of the last message before the close
 */
export const isFinal = (code, last) => last === "ended" || final.has(code) || (last === "error" && (code === 1007 || code === 1009));

/** @typedef {"rtc" | "rtm" | "chat"} Service */

/**
 * Who takes part in the call: at least one of the three.
 * @typedef {object} Identity
 * @property {{channel: string, uid?: number, account?: string, role?: "publisher" | "subscriber"}} [rtc] with a uid or a user account; a subscriber unless it says publisher
 * @property {{userId: string}} [rtm]
 * @property {{userId: string}} [chat]
 * @property {number} [ttl] lifetime of the tokens in seconds; the operator's default if absent
 * @property {"007" | "006" | "007-single"} [tokenFormat] of the tokens: 006 for old SDKs, if the credential or the service names it too, 007-single for one token that opens RTC and RTM; the credential's or the operator's default if absent
 */

/** @typedef {{token: string, expiresAt: number}} Token */
/** @typedef {{[service in Service]?: Token}} Tokens */

/**
 * @typedef {object} Joined
 * @property {"joined"} type
 * @property {string} session
 * @property {string} key secret
 * @property {boolean} resumed
 * @property {"renew" | "rejoin"} [action]
 * @property {number} seq
 * @property {Tokens} tokens
 * @property {number} heartbeat seconds
 * @property {number} renewBefore seconds
 * @property {number} now
 */

/**
 * @typedef {object} Push
 * @property {"token-privilege-will-expire" | "token-privilege-did-expire"} type
 * @property {number} seq
 * @property {Tokens} tokens
 * @property {number} previousExpiresAt
 * @property {"renew" | "rejoin"} action
 * @property {number} attempt
 * @property {string} cause
 * @property {number} now
 */

/**
 * Whether a message has the bundle that its type promises.
 * @param {{seq: number, tokens: Tokens}} message
 */
export function hasBundle({ seq, tokens }) {
  const all = Object.values(tokens ?? {});
  return Number.isSafeInteger(seq) && seq > 0 && all.length > 0 &&
    all.every((token) => typeof token?.token === "string" && Number.isFinite(token.expiresAt));
}

/** @typedef {{type: "reconnect", afterMs: number, reason: string}} Reconnect */
/** @typedef {{type: "ended", reason: string, accessEndsAt: number}} Ended */
/** @typedef {{type: "pong", now: number}} Pong */
/** @typedef {{type: "error", code: string, message: string}} ErrorMessage */
/** @typedef {Joined | Push | Reconnect | Ended | Pong | ErrorMessage} ServerMessage */
