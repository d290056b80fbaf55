// Makes elements without innerHTML: a string is always text, never markup.

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
 * Sets the text only if it differs, so that a screen reader reads only changes of a live region.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The element of that id; throws if the page has none.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * Enables or disables a control. Unlike with the attribute "disabled", a disabled control keeps the focus.
 * @param {Element} control
 * @param {boolean} enabled
 */
export function enable(control, enabled) {
  if (enabled) control.removeAttribute("aria-disabled");
  else control.setAttribute("aria-disabled", "true");
}

/** @param {Element} control */
export const isEnabled = (control) => control.getAttribute("aria-disabled") !== "true";

/** Matches if the visitor prefers less motion. */
export const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
