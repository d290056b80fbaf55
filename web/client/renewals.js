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
 * What renewals need of the session.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's, without http or ws
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
  /** The newest bundle when a renewal was last requested on the connection: one request for each bundle. */
  #requestedAfter = -1;
  /** No request over HTTP before this, in milliseconds by the clock. */
  #notBefore = 0;
  /** How many requests in a row brought nothing that the SDKs took; the backoff grows with them. */
  #failures = 0;
  /** Aborts the request over HTTP that is under way. @type {AbortController | null} */
  #request = null;
  /** When the tokens expire that were applied last, in Unix seconds; 0: none were. */
  appliedUntil = 0;

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /** @param {number} renewBefore as the service has said, in seconds */
  connected(renewBefore) {
    this.#failures = this.#notBefore = 0;
    this.#renewBefore = renewBefore > 0 ? renewBefore : 0;
  }

  /** Another session begins, which numbers its bundles from 1. */
  reset() {
    this.#requestedAfter = -1;
  }

  /** Ends the request that is under way. */
  stop() {
    this.#request?.abort();
  }

  /** Requests new tokens now. */
  request() {
    if (this.#session.connection.live) this.#session.connection.send({ type: "renew" });
    else void this.#requestByHttp();
  }

  /** An SDK's token expires soon: requests new ones if the push is late. */
  willExpire() {
    if (this.#session.clock.hasPassed(this.appliedUntil - this.#renewBefore)) this.#requestOnce();
  }

  /** A bundle had expired when it arrived: it waited too long, or this clock is ahead, which the pong will tell. */
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
    // The tokens that were requested expire no later than those before, so more requests would be in vain.
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
    // Away, the service does not hear of a refusal: the client itself has to request other tokens.
    const dueMs = refused && !live ? 0 : overdueMs;
    this.#session.alarms.set("overdue", Math.max(dueMs, this.#notBefore - this.#session.clock.now()), () => void this.#requestByHttp());
  }

  /**
   * Makes no request over HTTP for the time of the backoff.
   * @param {number} [leastMs] nor for this time
   */
  backOff(leastMs = 0) {
    this.#notBefore = this.#session.clock.now() + Math.max(leastMs, backoff(++this.#failures, this.#session.platform.random));
    this.schedule();
  }

  /** Requests tokens, once for each bundle; over HTTP later if there is no answer. */
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
      if (request.signal.aborted || this.#session.resume.token?.session !== token.session) return; // that session is over
      if (push) {
        const { expiresAt } = this.#session.deliveries;
        this.#session.clock.sync(push.now, this.#session.clock.now() - sentAt < answerTimeout);
        this.#session.onPush(push);
        if (this.#session.deliveries.expiresAt > expiresAt) return;
      } else if (over) {
        if (this.#session.resume.token.key === token.key) this.#session.onOver(over); // else a newer key replaced it meanwhile
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
