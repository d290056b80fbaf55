// The words of refresher.v1, as docs/protocol.md has them. Expiries are Unix
// seconds and `now` is Unix milliseconds, both by the server's clock.

export const subprotocol = "refresher.v1";

/** After these nobody comes back by itself; after any other close code, also one
 * that is not known here, the session is resumed. 1000, 1007 and 1009 are
 * not ours alone: they end a session only where the server said why. 4408 ends none: a
 * page that is frozen between its socket's opening and its first message is late. */
export const terminal = new Set([4400, 4401, 4403, 4404, 4409, 4410, 4429]);

/** @typedef {"rtc" | "rtm" | "chat"} Service */

/**
 * Who takes part in the call: at least one of the three.
 * @typedef {object} Identity
 * @property {{channel: string, uid?: number, account?: string, role?: "publisher" | "subscriber"}} [rtc] with a uid or a user account; a subscriber unless it says publisher
 * @property {{userId: string}} [rtm]
 * @property {{userId: string}} [chat]
 * @property {number} [ttl] lifetime of the tokens in seconds; the operator's default if absent
 * @property {"007" | "006" | "007-single"} [tokenFormat] of the tokens: 006 for old SDKs, 007-single for one token that opens RTC and RTM; the credential's or the operator's default if absent
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
/** @typedef {{type: "error", code: string, message: string}} Refusal */
/** @typedef {Joined | Push | Reconnect | Ended | Pong | Refusal} ServerMessage */
