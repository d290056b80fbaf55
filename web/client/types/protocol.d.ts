export declare const subprotocol = "refresher.v1";
/**
 * Whether a close is the end of the session, rather than of the connection alone: after
 * any other the client backs off, connects again, and resumes or joins. Proxies send
 * 1000, 1007 and 1009 too, so these count only after the server's own word. The
 * test holds this to the table of close codes in docs/protocol.md.
 * @param {number} code
 * @param {string} [last] the type of the last message before the close
 */
export declare const isFinal: (code: number, last?: string) => boolean;
export type Service = "rtc" | "rtm" | "chat";
export type Identity = {
    /**
     * with a uid or a user account; a subscriber unless it says publisher
     */
    rtc?: {
        channel: string;
        uid?: number;
        account?: string;
        role?: "publisher" | "subscriber";
    };
    rtm?: {
        userId: string;
    };
    chat?: {
        userId: string;
    };
    /**
     * lifetime of the tokens in seconds; the operator's default if absent
     */
    ttl?: number;
    /**
     * of the tokens: 006 for old SDKs, if the credential or the service names it too, 007-single for one token that opens RTC and RTM; the credential's or the operator's default if absent
     */
    tokenFormat?: "007" | "006" | "007-single";
};
export type Token = {
    token: string;
    expiresAt: number;
};
export type Tokens = {
    [service in Service]?: Token;
};
export type Joined = {
    type: "joined";
    session: string;
    /**
     * secret
     */
    key: string;
    resumed: boolean;
    action?: "renew" | "rejoin";
    seq: number;
    tokens: Tokens;
    /**
     * seconds
     */
    heartbeat: number;
    /**
     * seconds
     */
    renewBefore: number;
    now: number;
};
export type Push = {
    type: "token-privilege-will-expire" | "token-privilege-did-expire";
    seq: number;
    tokens: Tokens;
    previousExpiresAt: number;
    action: "renew" | "rejoin";
    attempt: number;
    cause: string;
    now: number;
};
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
export declare function hasBundle({ seq, tokens }: {
    seq: number;
    tokens: Tokens;
}): boolean;
export type Reconnect = {
    type: "reconnect";
    afterMs: number;
    reason: string;
};
export type Ended = {
    type: "ended";
    reason: string;
    accessEndsAt: number;
};
export type Pong = {
    type: "pong";
    now: number;
};
export type ErrorMessage = {
    type: "error";
    code: string;
    message: string;
};
export type ServerMessage = Joined | Push | Reconnect | Ended | Pong | ErrorMessage;
/** @typedef {{type: "reconnect", afterMs: number, reason: string}} Reconnect */
/** @typedef {{type: "ended", reason: string, accessEndsAt: number}} Ended */
/** @typedef {{type: "pong", now: number}} Pong */
/** @typedef {{type: "error", code: string, message: string}} ErrorMessage */
/** @typedef {Joined | Push | Reconnect | Ended | Pong | ErrorMessage} ServerMessage */
