// The demo in all engines: two people in a WebRTC call. The demo's simulated Agora edge admits and drops them
// by their tokens; the library and the service are real. WebKitGTK has no WebRTC: there the tests check
// everything but the pictures. Tests with the same result in all engines are in demo-chromium.test.js.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { hasWebRTC, inCall, neverOut, visit } from "./demo.js";
import { engines } from "./engines.js";
import { Service } from "./service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

for (const engine of engines) {
  describe(`the demo in ${engine}`, { concurrency: true, timeout: 300_000 }, () => {
    test("the call goes on through three renewals of both, the console and other hosts are left alone, and the page fits into every window", async (t) => {
      const { ana, ben, page, complaints, hosts } = await visit(t, `${service.url}/?ttl=10`, { engine });
      await inCall({ ana, ben });
      if (!hasWebRTC(engine)) await page.getByRole("status").filter({ hasText: /^No picture and no sound: this browser has no WebRTC .*All the rest works/ }).waitFor();
      await Promise.all([ana.reached({ renewals: 3 }), ben.reached({ renewals: 3 })]);
      await Promise.all([ana.picture(), ben.picture()]);
      await neverOut(ana, ben);
      assert.match((await ana.timeline()).join("\n"), /schedule/i);
      assert.deepEqual([...hosts], ["127.0.0.1"]);
      for (const [width, height] of [hasWebRTC(engine) ? [360, 740] : [390, 844], [768, 1024], [1280, 860], [1920, 1080]]) {
        await page.setViewportSize({ width, height });
        await page.evaluate(() => scrollTo(0, 0));
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(sideways <= 0, `${width}: ${sideways} px`); // the difference is negative if the page leaves room for a scrollbar
        const [one, other] = await Promise.all([ana, ben].map(async (person) => {
          const parts = [person.tile, person.switch("Refresher"), person.switch("Network"), person.ring];
          return Promise.all(parts.map((part) => part.boundingBox()));
        }));
        for (const [i, { x, y, height: tall }] of one.entries()) {
          assert.ok(y + tall <= height, `${width}: part ${i} ends at ${y + tall}`);
          assert.ok(Math.abs(other[i].y - y) < 1 && other[i].x > x, `${width}: part ${i} of the other`);
        }
        if (width > 640) continue;
        await page.getByRole("button", { name: "Join again Ben" }).scrollIntoViewIfNeeded();
        const { y } = await ben.tile.boundingBox();
        assert.ok(y >= 0 && y < 100, `the picture is at ${y} when the last of the controls is in sight`);
      }
      assert.deepEqual(complaints, []);
    });

    test("the call survives a service that is killed and comes back", async (t) => {
      const own = new Service("demo", ["--stand-in"]).set({
        AGORA_APP_ID: "0123456789abcdef0123456789abcdef", AGORA_APP_CERTIFICATE: "fedcba9876543210fedcba9876543210",
      });
      await own.start();
      t.after(() => own.stop());
      const { ana, ben, faults } = await visit(t, `${own.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      await own.kill();
      await Promise.all([ana.reached({ refresher: "away|connecting" }), ben.reached({ refresher: "away|connecting" })]);
      await own.start();
      await inCall({ ana, ben });
      await neverOut(ana, ben);
      assert.match((await ana.timeline()).join("\n"), /resume/i);
      assert.deepEqual(faults(), []);
    });

    test("a socket that is killed is resumed, a network that fails for one is survived, and a reload keeps the sessions", async (t) => {
      const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      await ana.press("Kill the socket");
      await ana.reached({ refresher: "live", renewals: 1 });
      assert.ok((await ana.refreshers()).includes("away"));
      await ben.switch("Network").click();
      await ben.reached({ call: "reconnecting", refresher: "away|connecting" });
      await ben.switch("Network").click();
      await inCall({ ana, ben });
      await neverOut(ana, ben);
      await page.reload();
      await inCall({ ana, ben });
      assert.match((await ana.timeline()).join("\n"), /resume/i);
      assert.deepEqual(complaints, []);
    });
  });
}
