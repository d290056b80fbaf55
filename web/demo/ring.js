// The life that a token has left: a ring that drains, and fills with the next.

import { svg } from "./dom.js";
import { lasting } from "./format.js";

const radius = 42;
const around = 2 * Math.PI * radius;

export class Ring {
  #arc = svg("circle", { class: "arc", cx: 50, cy: 50, r: radius, "stroke-dasharray": around, "stroke-dashoffset": around });
  #text = svg("text", { x: 50, y: 51 });
  #host;

  /** @param {HTMLElement} host a meter */
  constructor(host) {
    this.#host = host;
    host.append(svg("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" },
      svg("circle", { class: "track", cx: 50, cy: 50, r: radius }), this.#arc, this.#text));
  }

  /**
   * @param {number} leftMs
   * @param {number} wholeMs how long the token had to live
   */
  show(leftMs, wholeMs) {
    const share = wholeMs > 0 ? Math.min(1, leftMs / wholeMs) : 0;
    this.#arc.setAttribute("stroke-dashoffset", (around * (1 - share)).toFixed(1));
    this.#host.dataset.level = leftMs <= 0 ? "none" : leftMs < Math.min(10_000, wholeMs / 8) ? "low" : leftMs < Math.min(30_000, wholeMs / 3) ? "late" : "fine";
    const text = leftMs > 0 ? lasting(leftMs) : "–";
    if (this.#text.textContent === text) return;
    this.#text.textContent = text;
    this.#host.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    this.#host.setAttribute("aria-valuetext", leftMs > 0 ? text : "none");
  }
}
