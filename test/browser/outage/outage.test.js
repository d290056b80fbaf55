// How soon a call recovers after a long outage. Firefox delays connections to a host that failed, longer after
// each failure, up to 60 s. Only an outage of minutes shows that, so this test is not part of continuous
// integration. The command is:
//
//   npm run outage        OUTAGE=200 seconds, ENGINES=firefox,chromium,webkit

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as span } from "node:timers/promises";

import { Call } from "../remote.js";
import { engines, open } from "../engines.js";
import { Network } from "../network.js";
import { Service } from "../service.js";
import { Site } from "../site.js";

const outage = Number(process.env.OUTAGE ?? 200);
// The limit for a call's recovery, in seconds. Firefox delays connections by up to 60 s, and the library by up
// to 20 s.
const latest = { firefox: 65, chromium: 25, webkit: 25 };

for (const engine of engines) {
  test(`${engine} is back soon after ${outage} s without the service`, { timeout: (outage + 180) * 1000 }, async (t) => {
    const site = await new Site().open();
    t.after(() => site.close());
    const service = await new Service("serve", [`--allowed-origins=${site.origin}`, "--resume-window=10m"]).start();
    t.after(() => service.stop());
    const network = await new Network(() => service.address).open();
    t.after(() => network.close());
    const { page } = await open(t, { engine });
    await page.goto(`${site.origin}/app`);
    const credential = await service.grant("--subject", "ana", "--channels", "daily", "--uids", "1");
    const call = await new Call(page).start({ url: network.url, credential, rtc: { channel: "daily", uid: 1 }, ttl: 900 });
    await call.first("renewed");
    network.set("down");
    await span(outage * 1000);
    network.set("up");
    const from = performance.now();
    await call.first("renewed", ({ cause }) => cause === "resume");
    const seconds = (performance.now() - from) / 1000;
    const attempts = await call.run(({ seen }) => seen.filter(({ event }) => event === "lost").length);
    t.diagnostic(`${engine}: back ${seconds.toFixed(1)} s after ${outage} s, ${attempts} attempts`);
    assert.ok(seconds < latest[engine], `${seconds} s`);
  });
}
