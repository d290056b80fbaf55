import { el, setText } from "./dom.js";

/** @typedef {"" | "fine" | "low"} Level */

export class Card {
  #figure = el("p", { class: "figure" }, "–");
  #hint;
  body = el("div", { class: "rest" });

  /**
   * @param {string} title
   * @param {string} id
   * @param {string} hint
   */
  constructor(title, id, hint) {
    this.#hint = el("p", { class: "hint" }, hint);
    const titleId = `metric-${id}`;
    this.section = el("section", { class: `card metric ${id}`, "aria-labelledby": titleId },
      el("h2", { id: titleId }, title), this.#figure, this.body, this.#hint);
  }

  /**
   * @param {string} figure
   * @param {Level} [level] its colour
   */
  setFigure(figure, level = "") {
    setText(this.#figure, figure);
    this.#figure.dataset.level = level;
  }

  /** @param {string} line */
  setLine(line) {
    setText(this.body, line);
  }

  /** @param {string} hint */
  setHint(hint) {
    setText(this.#hint, hint);
  }
}
