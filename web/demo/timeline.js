// The timeline of one person, the newest entry first. Entries are placed by CSS transforms, so that a new entry
// causes no layout shift.

/** @import { Entry } from "./participant.js" */

import { el } from "./dom.js";
import { clock } from "./format.js";

const maxEntries = 50;

export class Timeline {
  #list;
  #newestGroup = "";

  /** @param {HTMLElement} list the list on the page, which has a fixed height and scrolls */
  constructor(list) {
    this.#list = list;
    new ResizeObserver(() => this.#arrange()).observe(list);
  }

  /** @param {Entry} entry */
  add({ at, kind, text, detail, group }) {
    const item = el("li", { class: kind },
      el("time", { datetime: new Date(at).toISOString() }, clock(at)), " ",
      el("span", {}, el("b", {}, text), detail && " ", el("small", {}, detail)));
    const first = this.#list.firstElementChild;
    if (first && group && group === this.#newestGroup) first.replaceWith(item);
    else this.#list.prepend(item);
    this.#newestGroup = group;
    if (this.#list.childElementCount > maxEntries) this.#list.lastElementChild?.remove();
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
