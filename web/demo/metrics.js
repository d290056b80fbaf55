/** @typedef {{labels: Record<string, string>, value: number}} Sample */

export class Metrics {
  /** @type {Map<string, Sample[]>} */
  #samples = new Map();

  /** @param {string} text */
  constructor(text) {
    for (const line of text.split("\n")) {
      const [, name, labels = "", value] = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)/i.exec(line) ?? [];
      if (!name || !value) continue;
      const sample = { labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, word]) => [key, word])), value: Number(value) };
      const samples = this.#samples.get(name);
      if (samples) samples.push(sample);
      else this.#samples.set(name, [sample]);
    }
  }

  /** @param {string} name */
  samples(name) {
    return this.#samples.get(name) ?? [];
  }

  /**
   * Returns the sum of the metric's values that have these labels; 0 if there are none.
   * @param {string} name
   * @param {Record<string, string>} [labels]
   */
  sum(name, labels = {}) {
    const fits = (/** @type {Sample} */ sample) => Object.entries(labels).every(([key, word]) => sample.labels[key] === word);
    return this.samples(name).filter(fits).reduce((sum, { value }) => sum + value, 0);
  }

  /**
   * Returns the count in each bucket of a histogram, keyed by the bucket's upper bound.
   * @param {string} name
   */
  histogram(name) {
    let below = 0;
    return this.samples(`${name}_bucket`).map(({ labels, value }) => {
      const bucket = { upTo: Number(labels.le?.replace("+Inf", "Infinity")), count: value - below };
      below = value;
      return bucket;
    });
  }
}
