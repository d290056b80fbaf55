// Elements, made without innerHTML: what is shown is text.

const svgSpace = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {(Node | string)[]} children
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(svgSpace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Shows a text where it is another than before, so that a live region speaks of
 * changes only.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The element of that id, which the page has.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Turns a control off without taking the focus from who is on it.
 * @param {Element} control
 * @param {boolean} usable
 */
export function enable(control, usable) {
  if (usable) control.removeAttribute("aria-disabled");
  else control.setAttribute("aria-disabled", "true");
}

/** @param {Element} control */
export const usable = (control) => control.getAttribute("aria-disabled") !== "true";

/** Whether somebody wants things to step rather than to flow. */
export const calm = matchMedia("(prefers-reduced-motion: reduce)");
