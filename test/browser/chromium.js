// Debian's Chromium, started once for each file of tests.

import { after } from "node:test";
import { chromium } from "playwright-core";

const browser = chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", // the tests may run as root
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // nothing leaves this machine
    "--disable-features=WebRtcHideLocalIpsWithMdns", // names that would not be found by that
  ],
});
after(async () => (await browser).close());

/**
 * A page in a context of its own, which collects what a visitor's console would
 * show as wrong, and which hosts were asked for something.
 * @param {import("node:test").TestContext} t
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function open(t, options) {
  const context = await (await browser).newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  /** @type {Set<string>} */
  const hosts = new Set();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error}`));
  context.on("request", (request) => hosts.add(new URL(request.url()).hostname));
  page.on("websocket", (socket) => hosts.add(new URL(socket.url()).hostname));
  return { page, context, complaints, hosts };
}
