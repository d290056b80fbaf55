// Renewals that the client requests. Normally the service pushes new tokens in time. If a push is
// overdue, or an SDK warns that its token expires soon, the client requests tokens: on the
// connection if it is live, over HTTP otherwise.

/** @import { Connection } from "./connection.js" */
/** @import { DeliveryQueue } from "./delivery.js" */
/** @import { Answer } from "./http.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Push } from "./protocol.js" */
/** @import { ResumeStore } from "./resume.js" */
/** @import { Alarms, Clock } from "./time.js" */

import { renewByHttp } from "./http.js";
import { backoff } from "./time.js";

/** A push is overdue when the tokens' remaining time is less than this share of renewBefore. */
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
  /** How long before the tokens' expiry the service pushes new ones, in seconds. */
  #renewBefore = 0;
  /** The number of the bundle that was the newest when a renewal was last requested on the connection; -1 before that. Each bundle allows one request. */
  #requestedAfter = -1;
  /** The earliest time for the next request over HTTP, in milliseconds by the clock. */
  #notBefore = 0;
  /** How many requests in a row brought no tokens that the SDKs accepted. The backoff grows with this number. */
  #failures = 0;
  /** Aborts the running request over HTTP. @type {AbortController | null} */
  #request = null;
  /** When the tokens that the SDKs accepted last expire, in Unix seconds; 0 before the first. */
  appliedUntil = 0;

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /** Records that the service answered join or resume. @param {number} renewBefore in seconds */
  connected(renewBefore) {
    this.#failures = this.#notBefore = 0;
    this.#renewBefore = renewBefore > 0 ? renewBefore : 0;
  }

  /** Prepares for another session, whose bundles are numbered from 1. */
  reset() {
    this.#requestedAfter = -1;
  }

  /** Aborts the running request over HTTP. */
  stop() {
    this.#request?.abort();
  }

  request() {
    if (this.#session.connection.live) this.#session.connection.send({ type: "renew" });
    else void this.#requestByHttp();
  }

  /** Handles an SDK's warning that its token expires soon. Requests new tokens if the service's push is late. */
  willExpire() {
    if (this.#session.clock.hasPassed(this.appliedUntil - this.#renewBefore)) this.#requestOnce();
  }

  /** Handles a bundle that had expired when it arrived. It was delayed, or this device's clock is ahead. A ping corrects the clock, and new tokens are requested. */
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
    // The requested tokens do not expire later than the previous ones, so another request would gain nothing.
    else if (previousSeq === this.#requestedAfter) {
      this.#requestedAfter = seq;
      this.#notBefore = Infinity;
    }
  }

  /**
   * Records that the SDKs accepted tokens.
   * @param {number} expiresAt in Unix seconds
   * @returns {number} milliseconds that the previous tokens still had; Infinity if there were none
   */
  applied(expiresAt) {
    if (expiresAt > this.appliedUntil) this.#failures = 0;
    const marginMs = this.appliedUntil ? this.appliedUntil * 1000 - this.#now() : Infinity;
    this.appliedUntil = expiresAt;
    return marginMs;
  }

  /** Sets the alarm for the moment when the next push is overdue. */
  schedule() {
    const { newest, refused } = this.#session.deliveries;
    const { live } = this.#session.connection;
    if (!newest) return;
    const overdueMs = (newest.expiresAt - overdueShare * this.#renewBefore) * 1000 - this.#now();
    if (live && this.#requestedAfter !== newest.seq) return this.#session.alarms.set("overdue", overdueMs, () => this.#requestOnce());
    // If the SDKs refused the tokens while there is no connection, the service cannot learn that.
    // So the client requests other tokens itself.
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

  /** Requests tokens on the connection, once for each bundle. If no answer comes within answerTimeout, requests them over HTTP. */
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
      if (request.signal.aborted || this.#session.resume.token?.session !== token.session) return; // the session was replaced or has ended meanwhile
      if (push) {
        const { expiresAt } = this.#session.deliveries;
        this.#session.clock.sync(push.now, this.#session.clock.now() - sentAt < answerTimeout);
        this.#session.onPush(push);
        if (this.#session.deliveries.expiresAt > expiresAt) return;
      } else if (over) {
        // If the key has changed since the request, the answer is outdated.
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
