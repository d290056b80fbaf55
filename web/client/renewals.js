// Renewals that the client requests: normally the service pushes new tokens in
// time. Where a push is overdue, or an SDK says that its token expires soon, the
// client requests them, on the connection if that is live, and else over HTTP.

/** @import { Connection } from "./connection.js" */
/** @import { DeliveryQueue } from "./delivery.js" */
/** @import { Answer } from "./http.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Push } from "./protocol.js" */
/** @import { ResumeStore } from "./resume.js" */
/** @import { Alarms, Clock } from "./time.js" */

import { renewByHttp } from "./http.js";
import { backoff } from "./time.js";

/** A push is overdue when less than this share of renewBefore is left. */
const overdueShare = 0.8;
/** How long the answer to a request may take, in milliseconds, on the connection or over HTTP. */
const answerTimeout = 8_000;

/**
 * The session's members that renewals use.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address after "http" or "ws", such as "s://calls.example.com"
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
  /** Number of the newest bundle when a renewal was last requested on the connection; -1 before that. Each bundle gets one request. */
  #requestedAfter = -1;
  /** The earliest time for the next request over HTTP, in milliseconds by the clock. */
  #notBefore = 0;
  /** How many requests in a row brought no tokens that the SDKs took. The backoff grows with it. */
  #failures = 0;
  /** Aborts the request over HTTP that is under way. @type {AbortController | null} */
  #request = null;
  /** When the tokens that were applied last expire, in Unix seconds; 0 before the first. */
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

  /** Prepares for another session, which numbers its bundles from 1. */
  reset() {
    this.#requestedAfter = -1;
  }

  /** Aborts the request over HTTP that is under way. */
  stop() {
    this.#request?.abort();
  }

  /** Requests new tokens now. */
  request() {
    if (this.#session.connection.live) this.#session.connection.send({ type: "renew" });
    else void this.#requestByHttp();
  }

  /** Handles an SDK's warning that its token expires soon: requests new tokens if the push is late. */
  willExpire() {
    if (this.#session.clock.hasPassed(this.appliedUntil - this.#renewBefore)) this.#requestOnce();
  }

  /** Handles a bundle that had expired when it arrived: it was delayed, or this clock is ahead. A ping corrects the clock; new tokens are requested. */
  arrivedExpired() {
    if (!this.#session.connection.live) return;
    this.#session.connection.wake();
    this.#requestOnce();
  }

  /**
   * Records that a new bundle arrived.
   * @param {number} previousSeq of the bundle that was the newest before
   * @param {number} previousExpiresAt of the same
   */
  arrived(previousSeq, previousExpiresAt) {
    const { seq, expiresAt } = this.#session.deliveries;
    if (expiresAt > previousExpiresAt) this.#notBefore = 0;
    // The requested tokens expire no later than those before them, so further requests would bring nothing either.
    else if (previousSeq === this.#requestedAfter) {
      this.#requestedAfter = seq;
      this.#notBefore = Infinity;
    }
  }

  /**
   * Records that tokens were applied.
   * @param {number} expiresAt in Unix seconds
   * @returns {number} milliseconds that the tokens before had left; Infinity if there were none
   */
  applied(expiresAt) {
    if (expiresAt > this.appliedUntil) this.#failures = 0;
    const marginMs = this.appliedUntil ? this.appliedUntil * 1000 - this.#now() : Infinity;
    this.appliedUntil = expiresAt;
    return marginMs;
  }

  /** Sets the alarm for the time at which the next push is overdue. */
  schedule() {
    const { newest, refused } = this.#session.deliveries;
    const { live } = this.#session.connection;
    if (!newest) return;
    const overdueMs = (newest.expiresAt - overdueShare * this.#renewBefore) * 1000 - this.#now();
    if (live && this.#requestedAfter !== newest.seq) return this.#session.alarms.set("overdue", overdueMs, () => this.#requestOnce());
    // Without a connection no nack reaches the service, so the client itself requests other tokens.
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

  /** Requests tokens, once for each bundle. If no answer comes within answerTimeout, requests them over HTTP. */
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
        if (this.#session.resume.token.key === token.key) this.#session.onOver(over); // with a newer key, this answer is outdated
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
