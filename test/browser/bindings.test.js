// Tests the bindings with Agora's published Web SDKs. Each scenario of web/client/test/scenarios.js runs in
// Chromium; the scenarios of AgoraRTC, which uses WebRTC, also run in Firefox. AgoraRTC joins calls at a
// simulated edge (page/agora.js). There is no simulated edge for agora-rtm: the page calls the SDK's internal
// functions, as messages of Agora's edge would (page/rtm.js).

import { after, before, describe, test } from "node:test";

import { tested } from "../../web/client/test/sdks.js";
import { scenarios } from "../../web/client/test/scenarios.js";
import { engines, open } from "./engines.js";
import { servePages } from "./pages.js";

const pages = {
  "agora-rtc-sdk-ng": "rtc",
  "agora-rtc-react": "rtc-react",
  "agora-rtm, login": "rtm",
  "agora-rtm, stream channel": "rtm?channel=daily",
  "agora-rtm 2.1, login": "rtm+2.1?2.1",
};

/** @type {Awaited<ReturnType<typeof servePages>>} */
let site;
before(async () => {
  site = await servePages({ rtc: {}, "rtc-react": {}, rtm: {}, "rtm+2.1": { "agora-rtm": "agora-rtm-2.1" } });
});
after(() => site.close());

tested(import.meta.url, Object.keys(pages));

for (const engine of engines.filter((engine) => engine !== "webkit")) { // Debian's WebKitGTK has no WebRTC, which AgoraRTC needs
  for (const [name, address] of Object.entries(pages)) {
    // Chromium is enough for agora-rtc-react, which uses the client of agora-rtc-sdk-ng, and for agora-rtm, which
    // does not use WebRTC.
    if (engine === "firefox" && address !== "rtc") continue;
    describe(`${name} in ${engine}`, { timeout: 180_000 }, () => {
      /** @type {any} */
      let page;
      const closes = [];
      before(async () => {
        ({ page } = await open({ after: (close) => closes.push(close) }, { engine }));
        await page.goto(`${site.origin}/${address}`);
      });
      after(() => Promise.all(closes.map((close) => close())));

      for (const event of Object.keys(scenarios)) {
        test(`${name}: ${event}`, () => page.evaluate((event) => globalThis.scenario(event), event));
      }
    });
  }
}
