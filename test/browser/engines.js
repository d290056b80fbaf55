// The engines that the tests run in, by one interface.

import { openPlaywright } from "./playwright.js";
import { openWebKit } from "./webkit.js";

/** @typedef {"chromium" | "firefox" | "webkit"} Engine */

/** Those that the environment's ENGINES names, or all. @type {Engine[]} */
export const engines = /** @type {any} */ (process.env.ENGINES?.split(",") ?? ["chromium", "firefox", "webkit"]);

/**
 * What is the same in all engines.
 * @typedef {object} Opened
 * @property {Engine} engine
 * @property {any} page Playwright's Page; in WebKit the part of it that is in webkit.js
 * @property {import("playwright-core").BrowserContext} [context] Playwright's, not in WebKit: for tests of one engine
 * @property {string[]} complaints what the console shows as wrong: errors, warnings and what was not caught
 * @property {Set<string>} hosts those that the pages asked for something
 * @property {(address: RegExp, answer: {status?: number, body?: string, contentType?: string}) => Promise<unknown>} route answers such requests, in place of their server
 * @property {(offline: boolean) => Promise<void>} setOffline as if the device had no network
 * @property {() => Promise<void>} back goes back to the page before
 * @property {() => Promise<any>} newPage another window, with nothing of this one but the profile
 * @property {(open: () => unknown) => Promise<any>} popup the window that a page opens meanwhile
 * @property {() => Promise<unknown>} hide puts the page in the background; in Chromium if the browser is alone
 * @property {() => Promise<unknown>} show brings it back
 * @property {() => () => void} freeze stops the processes of the pages, until the function that it returns is called; if the browser is alone
 */

/**
 * Opens a page in a profile of its own, which is closed after the test. A browser that is missing
 * fails the test, with the name of the Debian package that has it.
 * @param {import("node:test").TestContext} t
 * @param {{engine?: Engine, alone?: boolean, colorScheme?: "light" | "dark", reducedMotion?: "reduce" | "no-preference", viewport?: {width: number, height: number}} & import("playwright-core").BrowserContextOptions} [options]
 *   alone: in a browser of its own. In WebKit every browser is, and other options than those named here are not known
 * @returns {Promise<Opened>}
 */
export function open(t, { engine = "chromium", ...options } = {}) {
  if (engine === "webkit") return openWebKit(t, options);
  return openPlaywright(t, { engine, ...options });
}
