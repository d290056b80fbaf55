// Opens Debian's Chromium and Firefox by playwright-core. Firefox is controlled by WebDriver BiDi, Chromium by
// its own protocol (CDP), since Playwright would only translate BiDi for Chromium to CDP.

import { randomUUID } from "node:crypto";
import { after } from "node:test";
import { chromium, firefox } from "playwright-core";

import { childWith, freezePages } from "./processes.js";
import { freePort, program } from "./program.js";

/** @type {Map<string, Promise<import("playwright-core").Browser>>} */
const browsers = new Map();
after(async () => {
  for (const browser of browsers.values()) await browser.then((browser) => browser.close(), () => {});
});

const launch = {
  chromium: (/** @type {import("playwright-core").LaunchOptions} */ { args = [], ignoreDefaultArgs = [], ...options } = {}) => chromium.launch({
    executablePath: program([process.env.CHROMIUM ?? "/usr/bin/chromium"], "chromium"),
    args: [
      "--no-sandbox", // the tests may run as root, for whom the sandbox does not work
      "--autoplay-policy=no-user-gesture-required",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // no request may leave this machine
      "--disable-features=WebRtcHideLocalIpsWithMdns", // WebRTC uses IP addresses, since --host-resolver-rules keeps mDNS names from resolving
      ...args,
    ],
    ignoreDefaultArgs: ["--disable-back-forward-cache", ...ignoreDefaultArgs],
    ...options,
  }),
  // playwright-core must be 1.64 or older: newer versions send emulation.setMediaFeaturesOverride to every
  // browser, and Firefox ESR 153 does not support it.
  firefox: (/** @type {import("playwright-core").LaunchOptions} */ options, { colorScheme, reducedMotion }) => firefox.launch({
    channel: "moz-firefox",
    executablePath: program([process.env.FIREFOX ?? "/usr/bin/firefox-esr"], "firefox-esr"),
    firefoxUserPrefs: {
      "media.autoplay.default": 0,
      "media.autoplay.blocking_policy": 0,
      "media.peerconnection.ice.obfuscate_host_addresses": false, // WebRTC uses IP addresses, since mDNS names would be looked up by multicast on the network
      "media.peerconnection.ice.loopback": true,
      // A proxy at a closed port keeps requests from leaving this machine.
      "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9,
      "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9, "network.proxy.no_proxies_on": "127.0.0.1",
      // WebDriver BiDi cannot set the color scheme and reduced motion in this Firefox, so the browser's preferences do.
      "layout.css.prefers-color-scheme.content-override": colorScheme === "dark" ? 0 : 1,
      "ui.prefersReducedMotion": reducedMotion === "reduce" ? 1 : 0,
    },
    ...options,
  }),
};

/** Launches a browser that several tests share. Firefox needs one for each combination of color scheme and reduced motion. */
function shared(engine, { colorScheme, reducedMotion }) {
  const key = engine === "chromium" ? engine : JSON.stringify([engine, colorScheme, reducedMotion]);
  if (!browsers.has(key)) browsers.set(key, launch[engine]({}, { colorScheme, reducedMotion }));
  return browsers.get(key);
}

/**
 * Opens a browser for one test, with processes and background tabs like a user's browser. When Playwright
 * launches Chromium, every page believes that it has the focus and is in the foreground. That is not so for the
 * first profile of a browser to which Playwright only connects, so this function connects.
 */
async function own(t, engine, options) {
  const env = { ...process.env, BROWSER_TEST: randomUUID() };
  if (engine === "firefox") {
    const browser = await launch.firefox({ env }, options);
    t.after(() => browser.close());
    return { context: await browser.newContext(options), pid: childWith("BROWSER_TEST", env.BROWSER_TEST) };
  }
  const port = await freePort();
  const launched = await launch.chromium({
    env, args: [`--remote-debugging-port=${port}`],
    ignoreDefaultArgs: ["--no-startup-window", "--disable-background-timer-throttling", "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"],
  });
  t.after(() => launched.close());
  const browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { noDefaults: true });
  return { context: browser.contexts()[0], pid: childWith("BROWSER_TEST", env.BROWSER_TEST) };
}

/**
 * @param {import("node:test").TestContext} t
 * @param {{engine: "chromium" | "firefox", alone?: boolean} & import("playwright-core").BrowserContextOptions} options
 */
export async function openPlaywright(t, { engine, alone, ...options }) {
  const { context, pid } = alone
    ? await own(t, engine, options)
    : { context: await (await shared(engine, options)).newContext(options), pid: 0 };
  if (!alone) t.after(() => context.close());
  context.setDefaultTimeout(0); // no timeouts of Playwright, since the tests have timeouts that suit a loaded machine
  /** @type {string[]} */
  const complaints = [];
  /** @type {Set<string>} */
  const hosts = new Set();
  context.on("page", (page) => {
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`uncaught: ${error}`));
    page.on("websocket", (socket) => hosts.add(new URL(socket.url()).hostname));
  });
  context.on("request", (request) => hosts.add(new URL(request.url()).hostname));
  const page = await context.newPage();
  const opened = async (/** @type {() => unknown} */ open) => {
    const opened = context.waitForEvent("page");
    await open();
    return opened;
  };
  return {
    engine, page, context, complaints, hosts,
    route: (pattern, answer) => context.route(pattern, (route) => route.fulfill(answer)),
    setOffline: (offline) => context.setOffline(offline),
    newPage: () => context.newPage(),
    // Playwright's goBack waits for an event that Firefox does not send for a page from its back/forward cache.
    back: async () => {
      const left = page.url();
      await page.evaluate(() => history.back()).catch(() => {}); // the page may be closed before the call returns
      while ((await page.evaluate(() => location.href).catch(() => left)) === left);
    },
    popup: async (open) => {
      const popup = await opened(open);
      await popup.waitForLoadState();
      return popup;
    },
    // Hides the page by opening another tab in front of it. Firefox's newPage would open a window. In Chromium,
    // a page that opens a tab itself is hidden without an event.
    hide: async () => {
      const tab = await (engine === "firefox" ? opened(() => page.evaluate(() => void window.open("about:blank"))) : context.newPage());
      await tab.bringToFront();
    },
    show: () => page.bringToFront(),
    freeze: () => freezePages(pid),
  };
}
