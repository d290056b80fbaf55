// The service's metrics of the last two minutes, and their changes in that time.

/** @import { Metrics } from "./metrics.js" */

export const spanSeconds = 120;

/** @typedef {{at: number, metrics: Metrics}} Reading at: milliseconds of performance.now() */
/** @typedef {"acked" | "nacked" | "expired"} Outcome how a renewal ended */

export class Readings {
  /** The readings, the oldest first. @type {Reading[]} */
  #all = [];

  /**
   * @param {Metrics} metrics
   * @param {number} at
   */
  add(metrics, at) {
    // If a counter falls, the service was restarted.
    if (renewals(metrics, "acked") < renewals(this.#last?.metrics ?? metrics, "acked")) this.#all = [];
    this.#all = [...this.#all.filter((reading) => reading.at > at - spanSeconds * 1000), { at, metrics }];
  }

  get #first() {
    return this.#all[0];
  }

  get #last() {
    return this.#all.at(-1);
  }

  /** Seconds from the first reading to the last. */
  get seconds() {
    return this.#first && this.#last ? (this.#last.at - this.#first.at) / 1000 : 0;
  }

  /**
   * The number of renewals with that outcome, from the first reading to the last.
   * @param {Outcome} outcome
   */
  renewals(outcome) {
    return this.#first && this.#last ? renewals(this.#last.metrics, outcome) - renewals(this.#first.metrics, outcome) : 0;
  }

  /** How many renewals were confirmed in each second, the last one at the end. */
  renewalsBySecond() {
    const seconds = Array(spanSeconds).fill(0);
    for (const [i, { at, metrics }] of this.#all.entries()) {
      const before = this.#all[i - 1];
      const ago = Math.floor(((this.#last?.at ?? 0) - at) / 1000);
      if (before) seconds[Math.max(0, spanSeconds - 1 - ago)] += renewals(metrics, "acked") - renewals(before.metrics, "acked");
    }
    return seconds;
  }

  /**
   * Returns what a histogram has counted from the first reading to the last, keyed by bucket.
   * @param {string} name
   */
  histogram(name) {
    const before = this.#first?.metrics.histogram(name) ?? [];
    const buckets = this.#last?.metrics.histogram(name) ?? [];
    return buckets.map(({ upTo, count }, i) => ({ upTo, count: count - (before[i]?.count ?? 0) }));
  }
}

/**
 * @param {Metrics} metrics
 * @param {Outcome} outcome
 */
const renewals = (metrics, outcome) => metrics.sum("refresher_renewals_total", { outcome });
