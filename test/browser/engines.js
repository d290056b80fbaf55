// One interface to the browser engines that the tests run in.

import { openPlaywright } from "./playwright.js";
import { openWebKit } from "./webkit.js";

/** @typedef {"chromium" | "firefox" | "webkit"} Engine */

/** The engines that the environment variable ENGINES names; all without it. @type {Engine[]} */
export const engines = /** @type {any} */ (process.env.ENGINES?.split(",") ?? ["chromium", "firefox", "webkit"]);

/**
 * An open page, with an interface that is the same in all engines.
 * @typedef {object} Opened
 * @property {Engine} engine
 * @property {any} page Playwright's Page; in WebKit the part of it that is in webkit.js
 * @property {import("playwright-core").BrowserContext} [context] Playwright's, not in WebKit: for tests of one engine
 * @property {string[]} complaints the console's errors and warnings, and uncaught exceptions
 * @property {Set<string>} hosts the hosts that the pages sent requests to
 * @property {(address: RegExp, answer: {status?: number, body?: string, contentType?: string}) => Promise<unknown>} route answers requests to such addresses, in place of their server
 * @property {(offline: boolean) => Promise<void>} setOffline simulates a device without a network
 * @property {() => Promise<void>} back goes back to the page before
 * @property {() => Promise<any>} newPage opens another window of the same profile
 * @property {(open: () => unknown) => Promise<any>} popup resolves with the window that a page opens while `open` runs
 * @property {() => Promise<unknown>} hide puts the page in the background; in Chromium only with the option alone
 * @property {() => Promise<unknown>} show brings it back
 * @property {() => () => void} freeze stops the processes of the pages until the returned function is called; only with the option alone
 */

/**
 * Opens a page in a profile of its own, which is closed after the test. A browser that is missing
 * fails the test, with the name of the Debian package that has it.
 * @param {import("node:test").TestContext} t
 * @param {{engine?: Engine, alone?: boolean, colorScheme?: "light" | "dark", reducedMotion?: "reduce" | "no-preference", viewport?: {width: number, height: number}} & import("playwright-core").BrowserContextOptions} [options]
 * alone: the page gets a browser of its own, as it always does in WebKit. WebKit knows no options
 * but those named here
 * @returns {Promise<Opened>}
 */
export function open(t, { engine = "chromium", ...options } = {}) {
  if (engine === "webkit") return openWebKit(t, options);
  return openPlaywright(t, { engine, ...options });
}
