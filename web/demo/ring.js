// A ring that shows the remaining life of a token: it empties until a new token fills it.

import { svg } from "./dom.js";
import { remaining } from "./format.js";

const radius = 42;
const circumference = 2 * Math.PI * radius;

export class Ring {
  #arc = svg("circle", { class: "arc", cx: 50, cy: 50, r: radius, "stroke-dasharray": circumference, "stroke-dashoffset": circumference });
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
   * @param {number} lifetimeMs milliseconds that the token had left when it arrived
   */
  show(leftMs, lifetimeMs) {
    const share = lifetimeMs > 0 ? Math.min(1, leftMs / lifetimeMs) : 0;
    this.#arc.setAttribute("stroke-dashoffset", (circumference * (1 - share)).toFixed(1));
    this.#host.dataset.level = leftMs <= 0 ? "none" : leftMs < Math.min(10_000, lifetimeMs / 8) ? "low" : leftMs < Math.min(30_000, lifetimeMs / 3) ? "late" : "fine";
    const text = leftMs > 0 ? remaining(leftMs) : "–";
    if (this.#text.textContent === text) return;
    this.#text.textContent = text;
    this.#host.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    this.#host.setAttribute("aria-valuetext", leftMs > 0 ? text : "none");
  }
}
