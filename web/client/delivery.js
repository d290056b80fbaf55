// The queue of bundles before the SDKs. It delivers the newest bundle only, one
// at a time, and remembers the outcome, so that a bundle which the service sends
// again is answered again and not delivered twice.

/** @import { BundleInfo, Cause, Via } from "./events.js" */
/** @import { Service, Tokens } from "./protocol.js" */
/** @import { Clock } from "./time.js" */

/**
 * A set of tokens, one for each service of the identity.
 * @typedef {object} Bundle
 * @property {number} seq the bundle's number in its session; a higher one is newer
 * @property {Tokens} tokens
 * @property {boolean} rejoin whether the previous tokens had expired, so that the SDKs have to join again
 * @property {number} expiresAt when the first of its tokens expires, in Unix seconds
 * @property {Cause} cause
 * @property {number} attempt
 * @property {Via} via
 * @property {number} receivedAt in milliseconds by the library's clock
 * @property {boolean} [renewed] whether the event `renewed` was emitted for it
 */

/** @typedef {{service: Service, code: string, message: string}} Refusal what one SDK refused a token with */

/**
 * What became of a bundle. `took` lists the services whose SDK took its token.
 * It can be ok in spite of a refusal: see Bindings.deliver.
 * @typedef {{took: Service[]} & ({ok: true, refusal?: Refusal | null} | {ok: false, refusal: Refusal})} Outcome
 */

/**
 * What the queue needs of the session.
 * @typedef {object} Parts
 * @property {Clock} clock a bundle that has expired is neither accepted, nor delivered, nor answered
 * @property {{deliver: (bundle: Bundle) => Promise<Outcome>}} bindings
 * @property {(bundle: Bundle, outcome: Outcome) => void} onDelivered
 */

export class DeliveryQueue {
  #session;
  #delivering = false;
  /** How often another session began: each numbers its bundles from 1. */
  #resets = 0;
  /** The bundle to deliver next. @type {Bundle | null} */
  #next = null;
  /** The last delivery that is complete. @type {{bundle: Bundle, outcome: Outcome} | null} */
  #last = null;
  /** The newest bundle that was received. @type {Bundle | null} */
  newest = null;

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /** The newest bundle's number; 0 before the first. */
  get seq() {
    return this.newest?.seq ?? 0;
  }

  /** When the newest bundle expires, in Unix seconds; 0 before the first. */
  get expiresAt() {
    return this.newest?.expiresAt ?? 0;
  }

  /** Whether the newest bundle was delivered, and refused. */
  get refused() {
    return this.#last?.bundle === this.newest && !this.#last?.outcome.ok;
  }

  /**
   * Accepts a bundle that was received. One that was received before, or is older
   * than the newest, is not delivered.
   * @param {Bundle} bundle
   * @returns {boolean} whether it is new
   */
  offer(bundle) {
    if (this.#session.clock.hasPassed(bundle.expiresAt)) return false;
    if (bundle.seq > this.seq) {
      this.newest = this.#next = bundle;
      void this.#run();
      return true;
    }
    if (bundle.seq < this.seq) return false;
    // The same bundle again: the service did not get the answer.
    if (this.#last?.bundle === this.newest) this.#session.onDelivered(this.#last.bundle, this.#last.outcome);
    // There is none, and none to come: it was dropped as expired by a clock that was ahead.
    else if (!this.#delivering) this.redeliver();
    return false;
  }

  /** Delivers the newest bundle again, unless a newer one waits already. */
  redeliver() {
    this.#next ??= this.newest;
    void this.#run();
  }

  /** Forgets everything: another session begins. */
  reset() {
    this.newest = this.#next = this.#last = null;
    this.#resets++;
  }

  async #run() {
    if (this.#delivering) return;
    this.#delivering = true;
    while (this.#next) {
      const bundle = this.#next;
      this.#next = null;
      if (this.#session.clock.hasPassed(bundle.expiresAt)) continue;
      const resets = this.#resets;
      const outcome = await this.#session.bindings.deliver(bundle);
      if (resets !== this.#resets || this.#session.clock.hasPassed(bundle.expiresAt)) continue; // it is of an earlier session, or too late
      this.#last = { bundle, outcome };
      this.#session.onDelivered(bundle, outcome);
    }
    this.#delivering = false;
  }
}

/**
 * What the events say of a bundle: everything but its tokens.
 * @param {Bundle} bundle
 * @returns {BundleInfo}
 */
export function describeBundle({ tokens, receivedAt, renewed, ...info }) {
  return info;
}
