// Renewals that the client requests. Normally the service pushes new tokens in time. If a push is overdue, or
// an SDK warns that its token expires soon, the client requests tokens: on a live connection, otherwise over
// HTTP.

/** @import { Connection } from "./connection.js" */
/** @import { DeliveryQueue } from "./delivery.js" */
/** @import { Answer } from "./http.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Push } from "./protocol.js" */
/** @import { ResumeStore } from "./resume.js" */
/** @import { Alarms, Clock } from "./time.js" */

import { renewByHttp } from "./http.js";
import { backoff } from "./time.js";

/** A push is overdue when the tokens live for less than this fraction of renewBefore. */
const overdueShare = 0.8;
/** How long the service may take to answer a request, on the connection or over HTTP, in milliseconds. */
const answerTimeout = 8_000;

/**
 * The session's members that renewals use.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {Connection} connection
 * @property {ResumeStore} resume
 * @property {DeliveryQueue} deliveries
 * @property {(push: Push) => void} onPush tokens arrived over HTTP
 * @property {(over: NonNullable<Answer["over"]>) => void} onOver the service answered over HTTP that the session has ended, or is not known
 * @property {(error: unknown) => void} onError a request over HTTP failed; it is repeated
 */

export class Renewals {
  #session;
  #renewBefore = 0;
  /**
   * The newest bundle's number when the client last requested a renewal on the connection; -1 before that. The
   * client makes one request for each bundle.
   */
  #requestedAfter = -1;
  /** The earliest time for the next request over HTTP, in milliseconds by the clock. */
  #notBefore = 0;
  /** How many requests in a row brought no tokens that the SDKs accepted; the backoff grows with it. */
  #failures = 0;
  /** @type {AbortController | null} */
  #request = null;
  /** When the tokens that the SDKs accepted last expire, in Unix seconds; 0 before the first. */
  appliedUntil = 0;

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /** @param {number} renewBefore in seconds */
  connected(renewBefore) {
    this.#failures = this.#notBefore = 0;
    this.#renewBefore = renewBefore > 0 ? renewBefore : 0;
  }

  reset() {
    this.#requestedAfter = -1;
  }

  stop() {
    this.#request?.abort();
  }

  request() {
    if (this.#session.connection.live) this.#session.connection.send({ type: "renew" });
    else void this.#requestByHttp();
  }

  /** Requests new tokens when an SDK warns that its token expires soon, if the service's push is late. */
  willExpire() {
    if (this.#session.clock.hasPassed(this.appliedUntil - this.#renewBefore)) this.#requestOnce();
  }

  /**
   * Handles a bundle that had expired when it arrived, since it was delayed or this device's clock is ahead.
   * Sends a ping, whose answer corrects the clock, and requests new tokens.
   */
  arrivedExpired() {
    if (!this.#session.connection.live) return;
    this.#session.connection.wake();
    this.#requestOnce();
  }

  /**
   * Records that a new bundle arrived.
   * @param {number} previousSeq number of the previous bundle
   * @param {number} previousExpiresAt expiry of the previous bundle, in Unix seconds
   */
  arrived(previousSeq, previousExpiresAt) {
    const { seq, expiresAt } = this.#session.deliveries;
    if (expiresAt > previousExpiresAt) this.#notBefore = 0;
    // The requested tokens expire no later than the previous tokens, so another request would bring nothing.
    else if (previousSeq === this.#requestedAfter) {
      this.#requestedAfter = seq;
      this.#notBefore = Infinity;
    }
  }

  /**
   * Records that the SDKs accepted tokens.
   * @param {number} expiresAt in Unix seconds
   * @returns {number} remaining life of the previous tokens in milliseconds; Infinity if there were none
   */
  applied(expiresAt) {
    if (expiresAt > this.appliedUntil) this.#failures = 0;
    const marginMs = this.appliedUntil ? this.appliedUntil * 1000 - this.#now() : Infinity;
    this.appliedUntil = expiresAt;
    return marginMs;
  }

  schedule() {
    const { newest, refused } = this.#session.deliveries;
    const { live } = this.#session.connection;
    if (!newest) return;
    const overdueMs = (newest.expiresAt - overdueShare * this.#renewBefore) * 1000 - this.#now();
    if (live && this.#requestedAfter !== newest.seq) return this.#session.alarms.set("overdue", overdueMs, () => this.#requestOnce());
    // The SDKs refused the tokens, but without a connection the service does not learn that. So the client
    // requests other tokens over HTTP.
    const dueMs = refused && !live ? 0 : overdueMs;
    this.#session.alarms.set("overdue", Math.max(dueMs, this.#notBefore - this.#session.clock.now()), () => void this.#requestByHttp());
  }

  /**
   * Delays the next request over HTTP by the backoff.
   * @param {number} [leastMs] the shortest delay
   */
  backOff(leastMs = 0) {
    this.#notBefore = this.#session.clock.now() + Math.max(leastMs, backoff(++this.#failures, this.#session.platform.random));
    this.schedule();
  }

  /** Requests tokens on the connection, once for each bundle; after answerTimeout without an answer, over HTTP. */
  #requestOnce() {
    if (this.#requestedAfter === this.#session.deliveries.seq) return;
    this.#requestedAfter = this.#session.deliveries.seq;
    this.request();
    this.backOff(answerTimeout);
  }

  async #requestByHttp() {
    const { token } = this.#session.resume;
    if (!token || this.#request) return;
    const sentAt = this.#session.clock.now();
    const request = (this.#request = new AbortController());
    let later;
    try {
      const answer = renewByHttp(this.#session, token, request.signal);
      const { push, over, retryInMs } = await this.#session.alarms.within(answerTimeout, answer, "HTTP");
      if (request.signal.aborted || this.#session.resume.token?.session !== token.session) return; // the session was replaced or has ended
      if (push) {
        const { expiresAt } = this.#session.deliveries;
        this.#session.clock.sync(push.now, this.#session.clock.now() - sentAt < answerTimeout);
        this.#session.onPush(push);
        if (this.#session.deliveries.expiresAt > expiresAt) return;
      } else if (over) {
        // The key has changed since the request, so the answer is outdated.
        if (this.#session.resume.token.key === token.key) this.#session.onOver(over);
        return;
      } else later = retryInMs;
    } catch (error) {
      if (request.signal.aborted) return;
      this.#session.onError(error);
    } finally {
      this.#request = null;
      request.abort();
    }
    this.backOff(later);
  }

  #now() {
    return this.#session.clock.serverNow();
  }
}
