// A button that copies a text.

import { byId, isEnabled } from "./dom.js";

/**
 * Makes the button copy a text, and report the result on the button and to a screen reader. Pages over plain
 * HTTP have no clipboard: there the button is hidden.
 * @param {HTMLElement} button
 * @param {string} what the name of the text, after "Copy"
 * @param {() => string} text
 */
export function offerCopy(button, what, text) {
  button.hidden = !navigator.clipboard;
  button.setAttribute("aria-label", `Copy ${what}`);
  const report = (/** @type {string} */ label, /** @type {string} */ spoken) => {
    button.textContent = label;
    byId("spoken").textContent = spoken;
  };
  button.addEventListener("click", async () => {
    if (!isEnabled(button)) return;
    try {
      await navigator.clipboard.writeText(text());
      report("Copied", `Copied ${what}.`);
    } catch {
      report("Not allowed", "The browser does not allow to copy."); // the only reason for which a browser refuses to copy
    }
    setTimeout(() => report("Copy", ""), 2000);
  });
}
