// Opens and uses the demo page as a visitor does. Finds elements by roles and labels, as screen readers do.

import assert from "node:assert/strict";

import { open } from "./engines.js";

/** @typedef {import("./engines.js").Opened} Opened */

/** Debian's WebKitGTK is built without WebRTC. */
export const hasWebRTC = (/** @type {string} */ engine) => engine !== "webkit";

/** The browsers' messages about failed connections, which are not errors of the page. */
const connectionFailed = /Failed to load resource: net::|WebSocket connection to|can’t establish a connection to the server|connection to ws:.* was interrupted/;

/**
 * Opens the demo's page, and records the states of each call and each refresher from the start.
 * @param {import("node:test").TestContext} t
 * @param {string} url
 * @param {Parameters<typeof open>[1]} [options]
 * @param {(opened: Opened) => unknown} [prepare] called before the page is opened
 */
export async function visit(t, url, options, prepare) {
  const opened = await open(t, { reducedMotion: "reduce", ...options }); // without animations, which would use most of the processor's time
  const { page, engine, complaints } = opened;
  await prepare?.(opened);
  await page.addInitScript(watch);
  await page.goto(url);
  const people = { ana: new Person(page, "Ana", hasWebRTC(engine)), ben: new Person(page, "Ben", hasWebRTC(engine)) };
  return { ...opened, ...people, faults: () => complaints.filter((text) => !connectionFailed.test(text)) };
}

/**
 * Resolves when both people are in the call, their refreshers are live, and their pictures arrive.
 * @param {{ana: Person, ben: Person}} people
 */
export async function inCall({ ana, ben }) {
  await Promise.all([ana, ben].map((person) => person.reached({ call: "in", refresher: "live" })));
  await Promise.all([ana.picture(), ben.picture()]);
}

/**
 * Fails if one of the people has ever been out of the call since joining.
 * @param {Person[]} people
 */
export async function neverOut(...people) {
  for (const person of people) {
    const calls = await person.calls();
    assert.ok(!calls.slice(calls.indexOf("in")).includes("out"), `${calls}`);
  }
}

/** Runs in the page before the page's scripts, and records the states of each call and each refresher. */
function watch() {
  /** @type {Record<string, string[]>} */
  const histories = {};
  const listeners = new Set();
  const note = (/** @type {HTMLElement} */ section) => {
    const { call, refresher, renewals } = section.dataset;
    const name = section.getAttribute("aria-label") ?? section.querySelector("h2, h3")?.textContent?.trim() ?? "";
    const history = (histories[name] ??= []);
    const state = `${call} ${refresher} ${renewals}`;
    if (history.at(-1) === state) return;
    history.push(state);
    for (const listener of [...listeners]) listener();
  };
  new MutationObserver((mutations) => {
    for (const { target } of mutations) {
      if (target instanceof HTMLElement && target.dataset.call !== undefined) note(target);
    }
    for (const section of document.querySelectorAll("[data-call]")) note(/** @type {HTMLElement} */ (section));
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-call", "data-refresher", "data-renewals"] });
  Object.assign(window, {
    histories,
    /**
     * Resolves when a person's state matches: `call` and `refresher` are sources of regular expressions,
     * `renewals` is a minimum.
     */
    reached: (/** @type {string} */ name, /** @type {{call?: string, refresher?: string, renewals?: number}} */ want) => new Promise((resolve) => {
      const look = () => {
        const [call = "", refresher = "", renewals = "0"] = histories[name]?.at(-1)?.split(" ") ?? [];
        if (!new RegExp(`^(${want.call ?? ".*"})$`).test(call) || !new RegExp(`^(${want.refresher ?? ".*"})$`).test(refresher)) return;
        if (Number(renewals) < (want.renewals ?? 0)) return;
        listeners.delete(look);
        resolve(undefined);
      };
      listeners.add(look);
      look();
    }),
  });
}

/**
 * Resolves when the page has read the service's metrics `times` more times.
 * @param {Opened["page"]} page
 * @param {number} times
 */
export function metricsRead(page, times) {
  return page.evaluate((/** @type {number} */ times) => new Promise((resolve) => {
    let left = times;
    new PerformanceObserver((list) => {
      left -= list.getEntries().filter(({ name }) => name.endsWith("/demo/metrics")).length;
      if (left <= 0) requestAnimationFrame(() => resolve(null)); // the page shows the metrics one frame after it has read them
    }).observe({ type: "resource" });
  }), times);
}

/**
 * Returns the page's layout shifts since it was opened, as Chromium scores them. Other browsers do
 * not measure them.
 * @param {import("playwright-core").Page} page
 */
export function shifted(page) {
  return page.evaluate(() => new Promise((resolve) => {
    /** @type {string[]} */
    const shifts = [];
    new PerformanceObserver((list) => {
      for (const { value, sources } of list.getEntries()) {
        shifts.push(`${value}: ${sources.map(({ node }) => node?.outerHTML?.slice(0, 60) ?? node?.nodeName)}`);
      }
    }).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => resolve(shifts), 100);
  }));
}

export class Person {
  #page;
  #name;
  #pictured;

  /**
   * @param {Opened["page"]} page
   * @param {string} name
   * @param {boolean} pictured whether the browser can show a picture
   */
  constructor(page, name, pictured) {
    this.#page = page;
    this.#name = name;
    this.#pictured = pictured;
    this.section = page.getByRole("region", { name, exact: true });
  }

  /** Resolves when the page shows the state that `want` describes. */
  reached(want) {
    return this.#page.evaluate(([name, want]) => window.reached(name, want), [this.#name, want]);
  }

  /** The states of the person's call in order: "in", "out", "reconnecting". */
  async calls() {
    const history = await this.#page.evaluate((name) => window.histories[name], this.#name);
    return history.map((state) => state.split(" ")[0]).filter((call, n, all) => call !== all[n - 1]);
  }

  /** The states of the person's refresher in order: "live", "away", and so on. */
  async refreshers() {
    const history = await this.#page.evaluate((name) => window.histories[name], this.#name);
    return history.map((state) => state.split(" ")[1]);
  }

  async renewals() {
    return Number(await this.section.getAttribute("data-renewals"));
  }

  /** The person's picture, or the text in place of the picture. */
  get tile() {
    return this.section.getByRole("figure");
  }

  get ring() {
    return this.section.getByRole("meter");
  }

  switch(name) {
    return this.section.getByRole("switch", { name });
  }

  press(name) {
    return this.section.getByRole("button", { name }).click();
  }

  status() {
    return this.section.locator("[aria-live=polite]").innerText();
  }

  /** Entries of the timeline that contain the text, the newest first. They are found even if the timeline is folded. */
  entries(text) {
    return this.section.locator(".timeline li").filter({ hasText: text });
  }

  timeline() {
    return this.entries(/./).allTextContents();
  }

  /** Resolves when a new picture of this person arrives, or when the page says that this browser shows none. */
  picture() {
    if (!this.#pictured) return this.tile.getByText("No picture in this browser.").waitFor();
    return this.section.locator("video").evaluate((video) => new Promise((resolve) => video.requestVideoFrameCallback(() => resolve(null))));
  }
}
