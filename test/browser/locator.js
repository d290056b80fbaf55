// Locators of elements in WebKit's pages, with the methods of Playwright's Locator that the tests use.

import { find } from "./find.js";

/** A search for elements on a page: each step searches within the elements that the previous step found. */
export class Locator {
  #page;
  #steps;

  constructor(page, steps) {
    this.#page = page;
    this.#steps = steps;
  }

  #then(step) {
    return new Locator(this.#page, [...this.#steps, step]);
  }

  get steps() {
    return this.#steps;
  }

  locator(css) {
    return this.#then({ css });
  }

  getByRole(role, { name, exact = false } = {}) {
    return this.#then({ role, name: name === undefined ? undefined : pattern(name, exact) });
  }

  getByText(text, { exact = false } = {}) {
    return this.#then({ text: pattern(text, exact) });
  }

  getByLabel(label, { exact = false } = {}) {
    return this.#then({ label: pattern(label, exact) });
  }

  filter({ hasText }) {
    return this.#then({ hasText: pattern(hasText, false) });
  }

  and(other) {
    return this.#then({ and: other.steps });
  }

  nth(nth) {
    return this.#then({ nth });
  }

  first() {
    return this.nth(0);
  }

  last() {
    return this.nth(-1);
  }

  async waitFor({ state = "visible" } = {}) {
    await this.#page.execute(`return (${find})(...arguments).then(() => null)`, this.#steps, state === "visible" || state === "attached" ? `some ${state}` : state);
  }

  click() {
    return this.#page.press(this.#steps);
  }

  evaluate(run, arg) {
    return this.#page.on(this.#steps, run, arg);
  }

  evaluateAll(run) {
    return this.#page.execute(`return (${find})(...arguments).then(${run})`, this.#steps, "any");
  }

  count() {
    return this.evaluateAll((all) => all.length);
  }

  async all() {
    return Array.from({ length: await this.count() }, (_, n) => this.nth(n));
  }

  allTextContents() {
    return this.evaluateAll((all) => all.map((one) => one.textContent));
  }

  innerText() {
    return this.evaluate((one) => one.innerText);
  }

  textContent() {
    return this.evaluate((one) => one.textContent);
  }

  getAttribute(name) {
    return this.evaluate((one, name) => one.getAttribute(name), name);
  }

  isChecked() {
    return this.evaluate((one) => one.checked ?? one.getAttribute("aria-checked") === "true");
  }

  isVisible() {
    return this.evaluateAll((all) => all.some((one) => one.checkVisibility({ visibilityProperty: true })));
  }

  isEnabled() {
    return this.evaluate((one) => !one.matches(":disabled"));
  }

  scrollIntoViewIfNeeded() {
    return this.evaluate((one) => one.scrollIntoView({ block: "nearest" }));
  }

  boundingBox() {
    return this.evaluate((one) => {
      const { x, y, width, height } = one.getBoundingClientRect();
      return { x, y, width, height };
    });
  }

  /** @param {string} value of the option */
  selectOption(value) {
    return this.#page.press([...this.#steps, { css: `option[value=${JSON.stringify(value)}]` }], "attached");
  }
}

/** Converts a text to a pattern in JSON. Unless `exact` is set, a string matches any text that contains it. */
function pattern(text, exact) {
  if (text instanceof RegExp) return { source: text.source, flags: text.flags };
  const source = text.trim().replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replace(/\s+/g, "\\s+");
  return exact ? { source: `^${source}$`, flags: "" } : { source, flags: "i" };
}
