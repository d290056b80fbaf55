// The public types of states, reasons and events, and the error with which token() rejects after the session's
// end.

/** @import { Identity, Service } from "./protocol.js" */

/**
 * The state of the session's connection.
 * @typedef {"connecting" | "live" | "away" | "ended"} State
 */

/**
 * Why the service made a bundle. The library sets "join" and "resume" itself; a newer service may
 * have further causes.
 * @typedef {"join" | "resume" | "schedule" | "renew" | "nack" | "role" | "certificate" | (string & {})} Cause
 */

/**
 * Why a session has ended. "closed" and "closed with <code>" are the library's own reasons; the
 * latter means that the service closed the connection without giving a reason. The values from
 * "unauthenticated" on are error codes of the service.
 * @typedef {"left" | "closed" | "revoked" | "denied" | "expired" | "superseded" | "unauthenticated" | "forbidden" | "unknown_session" | "bad_request" | "rate_limited" | (string & {})} Reason
 */

/** @typedef {"socket" | "http"} Via */

/**
 * Describes a bundle without its tokens.
 * @typedef {object} BundleInfo
 * @property {number} seq the bundle's number in its session
 * @property {Cause} cause why the service made it
 * @property {number} attempt how often the service has sent it, from 1
 * @property {boolean} rejoin whether the previous tokens had expired, so that the SDKs have to join again
 * @property {number} expiresAt when the first of its tokens expires, in Unix seconds
 * @property {Via} via
 */

/**
 * Describes a renewal that the client has acknowledged to the service.
 * @typedef {object} Renewal
 * @property {Service[]} services the services whose SDK accepted its token; empty if no SDK is in the call: the tokens are then kept for the next join
 * @property {number} tookMs milliseconds from the bundle's arrival to the last SDK's answer
 * @property {number} marginMs milliseconds that the previous tokens still had; negative if they had expired, Infinity if there were none
 */

/**
 * Every event, with the argument of its listeners. `identity` is set if the event is about a second
 * Refresher, made by also().
 * @typedef {object} Events
 * @property {{state: State, previous: State}} state the state has changed
 * @property {BundleInfo} tokens a new bundle arrived, and is now delivered to the SDKs
 * @property {BundleInfo & Renewal} renewed the SDKs took the bundle, and it was acknowledged to the service
 * @property {{seq: number, service: Service, code: string, message: string, identity?: Identity}} refused an SDK refused its token. The service makes another bundle, unless this SDK keeps refusing while others take theirs
 * @property {{reason: string, retryInMs: number, identity?: Identity}} lost a connection, or an attempt to connect, has failed; the next attempt follows in retryInMs. The SDKs' tokens stay valid meanwhile
 * @property {{reason: Reason, code: number, message: string, accessEndsAt: number}} ended the session has ended. Its tokens may work until accessEndsAt (Unix seconds; 0: not known). Leave the call if the reason is "revoked", "denied" or "forbidden", and also if it is "superseded": another page has taken the session over
 * @property {unknown} error something failed, and is retried: most often the fetch of a credential
 */

/** The error that token() rejects with after the session has ended. */
export class EndedError extends Error {
  /** @param {Events["ended"]} ended */
  constructor(ended) {
    super(`the session has ended: ${ended.reason}${ended.message && ` (${ended.message})`}`);
    this.name = "EndedError";
    this.reason = ended.reason;
    this.ended = ended;
  }
}
