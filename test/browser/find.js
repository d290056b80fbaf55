// Finds elements in WebKit's pages. The function find runs in the page, so it cannot use anything else of this
// module.

/**
 * Searches at each frame, for up to 30 s, and resolves with the elements that the steps find.
 * @param {any[]} steps each step searches within the elements that the previous step found
 * @param {string} state "attached" or "visible": waits until exactly one element has this state; "some attached" or "some visible": waits until at least one element has this state, and resolves with the first; "hidden" or "detached": waits until no element is visible, or none exists; "any": resolves at once with all elements
 */
export function find(steps, state) {
  const fits = ({ source, flags }, text) => new RegExp(source, flags).test(text.replace(/\s+/g, " ").trim());
  const visible = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getBoundingClientRect().width > 0;
  /**
   * Whether an element is visible to assistive technology. An element with display: contents has no box, so its
   * parent decides.
   */
  const exposed = (one) => getComputedStyle(one).display === "contents"
    ? exposed(one.parentElement)
    : one.checkVisibility({ visibilityProperty: true }) && !one.closest("[aria-hidden=true]");
  /** CSS selectors by role, for elements that have the role without the attribute `role`. */
  const native = {
    article: "article", button: "button, summary, input[type=button], input[type=submit]", checkbox: "input[type=checkbox]:not([role])",
    combobox: "select:not([multiple])", figure: "figure", heading: "h1, h2, h3, h4, h5, h6", img: "img", link: "a[href]", list: "ul, ol",
    listitem: "li", main: "main", meter: "meter", navigation: "nav", region: "section[aria-label], section[aria-labelledby]", table: "table",
    textbox: "input:not([type]), input[type=text], textarea",
  };
  /** Returns the text that a node adds to the accessible name of its ancestor. */
  const said = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (!(node instanceof Element) || node.matches("[aria-hidden=true], script, style") || !node.checkVisibility()) return "";
    return node.getAttribute("aria-label") ?? node.getAttribute("alt") ?? [...node.childNodes].map(said).join(" ");
  };
  const name = (one) => {
    const ids = one.getAttribute("aria-labelledby")?.split(/\s+/) ?? [];
    if (ids.length) return ids.map((id) => said(document.getElementById(id) ?? new Text())).join(" ");
    const own = one.getAttribute("aria-label") ?? one.getAttribute("alt");
    if (own !== null) return own;
    if (one.labels?.length) return [...one.labels].map(said).join(" ");
    const caption = { figure: "figcaption", table: "caption" }[one.localName];
    if (caption) return said(one.querySelector(caption) ?? new Text());
    const byContent = one.matches("button, summary, a, h1, h2, h3, h4, h5, h6, [role=button], [role=switch], [role=link], [role=tab], option");
    return byContent ? [...one.childNodes].map(said).join(" ") : one.title;
  };
  const all = (roots, css) => [...new Set(roots.flatMap((root) => [...root.querySelectorAll(css)]))];
  const apply = (found, step) => {
    if (step.css) return all(found, step.css);
    if (step.role) {
      const css = [`[role=${step.role}]`, ...(native[step.role]?.split(", ").map((each) => `${each}:not([role])`) ?? [])].join(", ");
      return all(found, css).filter((one) => exposed(one) && (!step.name || fits(step.name, name(one))));
    }
    if (step.text) {
      const having = all(found, "*").filter((one) => !one.matches("script, style, head *") && fits(step.text, one.textContent));
      return having.filter((one) => !having.some((other) => other !== one && one.contains(other)));
    }
    if (step.label) return all(found, "input, select, textarea, button, [aria-label], [aria-labelledby]").filter((one) => fits(step.label, name(one)));
    if (step.hasText) return found.filter((one) => fits(step.hasText, one.textContent));
    if (step.and) {
      const others = step.and.reduce(apply, [document]);
      return found.filter((one) => others.includes(one));
    }
    return [found.at(step.nth)].filter(Boolean);
  };
  const deadline = performance.now() + 30_000;
  return new Promise((resolve, reject) => {
    const look = () => {
      let found = steps.reduce(apply, [document]);
      if (state === "any") return resolve(found);
      if (state === "hidden" || state === "visible" || state === "some visible") found = found.filter(visible);
      if (state === "hidden" || state === "detached" ? !found.length : found.length === 1 || (found.length && state.startsWith("some"))) return resolve(found[0] ?? null);
      if (found.length > 1 && (state === "visible" || state === "attached")) return reject(new Error(`${found.length} elements: ${JSON.stringify(steps)}`));
      if (performance.now() > deadline) return reject(new Error(`not ${state} within 30 s: ${JSON.stringify(steps)}`));
      requestAnimationFrame(look);
    };
    look();
  });
}
