// The queue of bundles for the SDKs. Delivers one bundle at a time, always the newest. If the service repeats a
// bundle, the queue repeats its ack or nack instead of delivering the bundle twice.

/** @import { BundleInfo, Cause, Via } from "./events.js" */
/** @import { Service, Tokens } from "./protocol.js" */
/** @import { Clock } from "./time.js" */

/**
 * A set of tokens that were minted together, one for each service of the identity.
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

/** @typedef {{service: Service, code: string, message: string}} Refusal an SDK's refusal of a token */

/**
 * The outcome of a delivery. `took` lists the services whose SDK accepted its token. `ok` can be
 * true despite a refusal: see BindingRegistry.deliver.
 * @typedef {{took: Service[]} & ({ok: true, refusal?: Refusal | null} | {ok: false, refusal: Refusal})} Outcome
 */

/**
 * The session's members that the queue uses.
 * @typedef {object} Parts
 * @property {Clock} clock tells whether a bundle has expired. The queue does not accept, deliver or acknowledge an expired bundle
 * @property {{deliver: (bundle: Bundle) => Promise<Outcome>}} bindings
 * @property {(bundle: Bundle, outcome: Outcome) => void} onDelivered is called with the outcome of each delivery, and again when the service repeats the bundle
 */

export class DeliveryQueue {
  #session;
  #delivering = false;
  /** How often reset was called. If the number changes during a delivery, the delivery is of an earlier session. */
  #resets = 0;
  /** @type {Bundle | null} */
  #next = null;
  /** @type {{bundle: Bundle, outcome: Outcome} | null} */
  #last = null;
  /** @type {Bundle | null} */
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

  get refused() {
    return this.#last?.bundle === this.newest && !this.#last?.outcome.ok;
  }

  /**
   * Delivers a bundle that has arrived, unless it is older than the newest bundle or has arrived before.
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
    // The service repeats the newest bundle because it got no answer, so the queue answers again.
    if (this.#last?.bundle === this.newest) this.#session.onDelivered(this.#last.bundle, this.#last.outcome);
    // The bundle was not delivered when it first arrived, since the clock was ahead and the bundle seemed to
    // have expired. So it is delivered now.
    else if (!this.#delivering) this.redeliver();
    return false;
  }

  /** Delivers the newest bundle again, unless a newer bundle waits. */
  redeliver() {
    this.#next ??= this.newest;
    void this.#run();
  }

  /** Forgets all bundles, because another session begins. */
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
      if (resets !== this.#resets || this.#session.clock.hasPassed(bundle.expiresAt)) continue; // the session was replaced, or the bundle has expired
      this.#last = { bundle, outcome };
      this.#session.onDelivered(bundle, outcome);
    }
    this.#delivering = false;
  }
}

/**
 * Describes a bundle for events: without its tokens, and without the fields that only the library
 * uses.
 * @param {Bundle} bundle
 * @returns {BundleInfo}
 */
export function describeBundle({ tokens, receivedAt, renewed, ...info }) {
  return info;
}
