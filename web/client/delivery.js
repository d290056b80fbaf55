// Hands bundles of tokens to the SDKs: the newest only, one after the other, and
// answers for each.

/** @import { Service, Tokens } from "./protocol.js" */

/**
 * @typedef {object} Bundle
 * @property {number} seq
 * @property {Tokens} tokens
 * @property {boolean} rejoin the tokens before it ran out
 */

/** @typedef {{service: Service, code: string, message: string}} Refused by one SDK */
/** @typedef {{took: Service[]} & ({ok: true, refused?: Refused | null} | {ok: false, refused: Refused})} Verdict `took` names the services whose SDK took the bundle. It is ok in spite of an SDK that refused several in a row, if others took it */

/** @template {Bundle} B */
export class Delivery {
  #hand;
  #answer;
  #hasEnded;
  #busy = false;
  #era = 0; // of the session whose bundles these are
  /** @type {B | null} */
  #next = null;
  /** @type {{bundle: B, verdict: Verdict} | null} */
  #last = null;
  /** The newest that was offered. @type {B | null} */
  newest = null;

  /**
   * @param {(bundle: B) => Promise<Verdict>} hand
   * @param {(bundle: B, verdict: Verdict) => void} answer
   * @param {(bundle: B) => boolean} hasEnded whether its tokens have expired: such a bundle is neither taken, handed over nor answered
   */
  constructor(hand, answer, hasEnded) {
    this.#hand = hand;
    this.#answer = answer;
    this.#hasEnded = hasEnded;
  }

  /**
   * Takes a bundle that arrived, perhaps again, perhaps too late.
   * @param {B} bundle
   * @returns {boolean} whether it is new
   */
  offer(bundle) {
    if (this.#hasEnded(bundle)) return false;
    const newest = this.seq;
    if (bundle.seq > newest) {
      this.newest = this.#next = bundle;
      void this.#run();
      return true;
    }
    // The same one once more: its answer was lost, or is still to come.
    if (bundle.seq === newest && this.#last?.bundle.seq === newest) this.#answer(this.#last.bundle, this.#last.verdict);
    return false;
  }

  /** The newest one's number; 0 before the first. */
  get seq() {
    return this.newest?.seq ?? 0;
  }

  /** Whether an SDK has refused the newest bundle. */
  get refused() {
    return this.#last?.bundle === this.newest && !this.#last?.verdict.ok;
  }

  /** Hands over the newest bundle again, if no newer one is on its way. */
  repeat() {
    this.#next ??= this.newest;
    void this.#run();
  }

  /** Forgets all, since another session counts its bundles from 1. */
  reset() {
    this.newest = this.#next = this.#last = null;
    this.#era++;
  }

  async #run() {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#next) {
      const bundle = this.#next;
      this.#next = null;
      if (this.#hasEnded(bundle)) continue;
      const era = this.#era;
      const verdict = await this.#hand(bundle);
      if (era !== this.#era || this.#hasEnded(bundle)) continue; // of a session that is no more, or too late
      this.#last = { bundle, verdict };
      this.#answer(bundle, verdict);
    }
    this.#busy = false;
  }
}
