// The messages of refresher.v1: see docs/build/protocol.md. Expiries are Unix seconds and `now` is
// Unix milliseconds, both by the service's clock.

export const subprotocol = "refresher.v1";

const final = new Set([4400, 4401, 4403, 4404, 4409, 4410, 4429]);

/**
 * Reports whether a close ends the session: if the last message was `ended`, if the code is final, or if the
 * last message was `error` and the code is 1007 or 1009 (which proxies send too). A test compares this function
 * with the table of close codes in docs/build/protocol.md.
 * @param {number} code
 * @param {string} [last] the type of the last message before the close
 */
export const isFinal = (code, last) => last === "ended" || final.has(code) || (last === "error" && (code === 1007 || code === 1009));

/** @typedef {"rtc" | "rtm" | "chat"} Service */

/**
 * The users and the channel for which the session gets tokens: at least one of rtc, rtm and chat.
 * @typedef {object} Identity
 * @property {{channel: string, uid?: number, account?: string, role?: "publisher" | "subscriber"}} [rtc] a channel, and the user in it: by uid, or by user account. The role is "subscriber" if you leave it out
 * @property {{userId: string}} [rtm] a user of Signaling (RTM)
 * @property {{userId: string}} [chat] a user of Chat
 * @property {number} [ttl] lifetime of the tokens in seconds; the service's default if you leave it out
 * @property {"007" | "006" | "007-single"} [tokenFormat] "006" for old SDKs, which the credential or the service has to allow; "007-single" for one token that opens both RTC and RTM; the credential's or the service's default if you leave it out
 */

/** @typedef {{token: string, expiresAt: number}} Token */
/** @typedef {{[service in Service]?: Token}} Tokens */

/**
 * @typedef {object} Joined
 * @property {"joined"} type
 * @property {string} session
 * @property {string} key the resume key, which is secret
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
 * Whether a message has a complete bundle: a number, and a token with an expiry for each service.
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
