// What happened, the newest first. Entries are placed by transform, so that a new
// one moves the others without shifting the page's layout.

/** @import { Entry } from "./participant.js" */

import { el } from "./dom.js";
import { clock } from "./format.js";

const most = 50;

export class Timeline {
  #list;
  #newest = "";

  /** @param {HTMLElement} list of a fixed height, which scrolls */
  constructor(list) {
    this.#list = list;
    new ResizeObserver(() => this.#arrange()).observe(list);
  }

  /** @param {Entry} entry */
  add({ at, kind, text, detail, again }) {
    const item = el("li", { class: kind },
      el("time", { datetime: new Date(at).toISOString() }, clock(at)), " ",
      el("span", {}, el("b", {}, text), detail && " ", el("small", {}, detail)));
    const first = this.#list.firstElementChild;
    if (first && again && again === this.#newest) first.replaceWith(item);
    else this.#list.prepend(item);
    this.#newest = again;
    if (this.#list.childElementCount > most) this.#list.lastElementChild?.remove();
    this.#arrange();
  }

  #arrange() {
    let y = 0;
    for (const item of /** @type {Iterable<HTMLElement>} */ (/** @type {unknown} */ (this.#list.children))) {
      item.style.transform = `translateY(${y}px)`;
      y += item.offsetHeight;
    }
  }
}
