// Opens pages in all browser engines, through one interface.

import { openPlaywright } from "./playwright.js";
import { openWebKit } from "./webkit.js";

/** @typedef {"chromium" | "firefox" | "webkit"} Engine */

/** The engines in which the tests run: those in the environment variable ENGINES, or all if it is not set. @type {Engine[]} */
export const engines = /** @type {any} */ (process.env.ENGINES?.split(",") ?? ["chromium", "firefox", "webkit"]);

/**
 * An open page. Its interface is the same in all engines.
 * @typedef {object} Opened
 * @property {Engine} engine
 * @property {any} page Playwright's Page; in WebKit, the class Page in webkit.js, which has some of the methods of Playwright's Page
 * @property {import("playwright-core").BrowserContext} [context] Playwright's context, for tests of one engine; WebKit has none
 * @property {string[]} complaints the console's errors and warnings, and uncaught exceptions
 * @property {Set<string>} hosts the hosts to which the pages sent requests
 * @property {(address: RegExp, answer: {status?: number, body?: string, contentType?: string}) => Promise<unknown>} route answers requests to matching addresses, in place of their server
 * @property {(offline: boolean) => Promise<void>} setOffline simulates a device without a network
 * @property {() => Promise<void>} back goes back to the previous page
 * @property {() => Promise<any>} newPage opens another window of the same profile
 * @property {(open: () => unknown) => Promise<any>} popup resolves with the window that a page opens while `open` runs
 * @property {() => Promise<unknown>} hide puts the page in the background; Chromium needs the option `alone` for this
 * @property {() => Promise<unknown>} show brings the page back
 * @property {() => () => void} freeze stops the processes of the pages until the returned function is called; needs the option `alone`
 */

/**
 * Opens a page in a profile of its own, which is closed after the test. If the browser is missing,
 * the test fails with the name of the Debian package to install.
 * @param {import("node:test").TestContext} t
 * @param {{engine?: Engine, alone?: boolean, colorScheme?: "light" | "dark", reducedMotion?: "reduce" | "no-preference", viewport?: {width: number, height: number}} & import("playwright-core").BrowserContextOptions} [options]
 * alone: the page gets a browser of its own, as it always does in WebKit. WebKit supports only the
 * options that are named here
 * @returns {Promise<Opened>}
 */
export function open(t, { engine = "chromium", ...options } = {}) {
  if (engine === "webkit") return openWebKit(t, options);
  return openPlaywright(t, { engine, ...options });
}
