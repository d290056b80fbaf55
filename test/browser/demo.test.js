// The demo in all engines: two people in a call by WebRTC, held by the stand-in for
// Agora's edge, which admits and drops by the real token. The real library and the real
// service renew the tokens. WebKitGTK has no WebRTC: there the same tests assert all
// but the pictures. What only Chromium can do or measure, and what does not depend on
// the engine, is in demo-chromium.test.js.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { hasWebRTC, inCall, metricsRead, neverOut, visit } from "./demo.js";
import { engines } from "./engines.js";
import { Service } from "./service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

for (const engine of engines) {
  describe(`the demo in ${engine}`, { concurrency: 5, timeout: 300_000 }, () => {
    test("the call goes on through five renewals of both, without a word in the console or to another host", async (t) => {
      const { ana, ben, complaints, hosts } = await visit(t, `${service.url}/?ttl=10`, { engine });
      await inCall({ ana, ben });
      await Promise.all([ana.reached({ renewals: 5 }), ben.reached({ renewals: 5 })]);
      await Promise.all([ana.picture(), ben.picture()]);
      await neverOut(ana, ben);
      assert.match((await ana.timeline()).join("\n"), /schedule/i);
      assert.deepEqual([...hosts], ["127.0.0.1"]);
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

    test("without the refresher the call drops when its token runs out, and with it again it is back", async (t) => {
      const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=10`, { engine });
      await inCall({ ana, ben });
      await ben.switch("Refresher").click();
      await ben.reached({ call: "out", refresher: "off" });
      assert.match(await ben.story(), /ran out/i);
      assert.match(await ben.tile.innerText(), /Call lost[^]*\d:\d\d[^]*Without refresher/);
      assert.equal(await ben.ring.getAttribute("aria-valuetext"), "none");
      await ben.tile.getByText(/^(?!0:0[0-2]$)[\d:]+$/).waitFor(); // the tile counts the seconds that are lost
      assert.deepEqual((await ana.calls()).at(-1), "in");
      await ben.switch("Refresher").click();
      await inCall({ ana, ben });
      await neverOut(ana);
      assert.deepEqual(complaints, []);
    });

    test("a socket that is killed is resumed, and a network that fails for one is survived", async (t) => {
      const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      await ana.press("Kill the socket");
      await ana.reached({ refresher: "live", renewals: 1 });
      assert.ok((await ana.refreshers()).includes("away"));
      await ben.switch("Network").click();
      await ben.reached({ call: "reconnecting", refresher: "away|connecting" });
      await ben.switch("Network").click();
      await inCall({ ana, ben });
      await neverOut(ana, ben);
      assert.deepEqual(complaints, []);
    });

    test("a promotion and a demotion reach the call at once", async (t) => {
      const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      await ben.press("Make audience");
      await ben.reached({ renewals: 1 });
      await ben.section.getByRole("button", { name: "Promote to publisher" }).waitFor();
      await ben.tile.getByText("Audience", { exact: true }).waitFor();
      await ben.press("Promote to publisher");
      await ben.reached({ renewals: 2 });
      await ben.picture();
      await neverOut(ana, ben);
      assert.deepEqual(complaints, []);
    });

    test("a revocation ends one call and leaves the other, and after it one may join again", async (t) => {
      const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      await page.evaluate(lengthenRevocations);
      await ben.press("Revoke");
      await ben.reached({ call: "out", refresher: "ended" });
      assert.match(await ben.story(), /revoked|operator/i);
      // Ben's token still works, but he is out of the call, so he uses none.
      await ben.tile.getByText("Call ended", { exact: true }).waitFor();
      assert.equal(await ben.ring.getAttribute("aria-valuetext"), "none");
      await ben.press("Join again");
      await ben.section.getByText(/^The service refuses Ben until/).waitFor();
      await ben.reached({ call: "out", refresher: "ended" });
      assert.equal(await page.evaluate(async () => (await fetch(`/v1/revocations/${(await window.revocation).id}`, { method: "DELETE" })).status), 200);
      await ben.press("Join again");
      await inCall({ ana, ben });
      await neverOut(ana);
      assert.deepEqual(complaints, []);
    });

    test("a reload keeps the sessions", async (t) => {
      const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      await page.reload();
      await inCall({ ana, ben });
      assert.match((await ana.timeline()).join("\n"), /resume/i);
      assert.deepEqual(complaints, []);
    });

    test("the page fits into every window, and the experiment on its first screen", async (t) => {
      const { ana, ben, page } = await visit(t, `${service.url}/?ttl=60`, { engine });
      await inCall({ ana, ben });
      for (const [width, height] of [[390, 844], [768, 1024], [1280, 860], [1920, 1080]]) {
        await page.setViewportSize({ width, height });
        await page.evaluate(() => scrollTo(0, 0));
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(sideways <= 0, `${width}: ${sideways} px`); // below 0: room for a scrollbar
        const [one, other] = await Promise.all([ana, ben].map(async (person) => Promise.all([person.tile, person.switch("Refresher"), person.ring].map((part) => part.boundingBox()))));
        for (const [i, { x, y, height: tall }] of one.entries()) {
          assert.ok(y + tall <= height, `${width}: part ${i} ends at ${y + tall}`);
          assert.ok(Math.abs(other[i].y - y) < 1 && other[i].x > x, `${width}: part ${i} of the other`);
        }
      }
    });

    test("operators see what the service counts", async (t) => {
      // A service of its own: on the shared one, sessions that earlier tests left behind are at risk.
      const own = await new Service("demo").start();
      t.after(() => own.stop());
      const { ana, ben, page, complaints } = await visit(t, `${own.url}/?ttl=10`, { engine });
      await inCall({ ana, ben });
      await ana.reached({ renewals: 1 });
      await page.getByRole("link", { name: "Operators" }).click();
      await metricsRead(page, 3);
      // With tokens as short as these, a session also counts as at risk from each push to its ack.
      const main = page.getByRole("main");
      await main.filter({ hasText: /At risk\s*0/ }).waitFor();
      assert.match(await main.innerText(), /schedule/i);
      assert.match(await main.innerText(), /Renewals\s+0\.\d\d a second[^]*In the last 2 min: [1-9]\d* confirmed, 0 refused by an SDK, 0 ran out/);
      assert.match(await main.innerText(), /Margin\s+at least \d+ s/);
      // A session that lost its connection counts as away, and its renewal as run out.
      await page.getByRole("link", { name: "Call" }).click();
      await ben.switch("Refresher").click();
      await ben.reached({ call: "out" });
      await page.getByRole("link", { name: "Operators" }).click();
      await main.filter({ hasText: /Sessions\s*1\s*connected, 1 away/ }).waitFor();
      await main.filter({ hasText: /, 1 ran out unconfirmed/ }).waitFor();
      assert.deepEqual(complaints, []);
    });

    if (engine === "firefox") return; // of the browsers that have WebRTC, Chromium is enough
    test("without WebRTC the page says what is missing, and the rest works", async (t) => {
      const prepare = hasWebRTC(engine) ? ({ page }) => page.addInitScript(() => void delete window.RTCPeerConnection) : undefined;
      const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=10`, { engine }, prepare);
      await page.getByRole("status").filter({ hasText: /^No picture and no sound: this browser has no WebRTC .*All the rest works/ }).waitFor();
      await Promise.all([ana, ben].map((person) => person.reached({ call: "in", refresher: "live", renewals: 1 })));
      for (const { tile } of [ana, ben]) assert.match(await tile.innerText(), /In the call\s+No picture in this browser\.\s+With refresher/);
      const sound = page.getByRole("switch", { name: "Sound" });
      assert.equal(await sound.getAttribute("aria-disabled"), "true");
      await page.getByText("None: this browser has no WebRTC.").waitFor();
      assert.equal(await page.getByRole("alert").innerText(), "");
      await neverOut(ana, ben);
      assert.deepEqual(complaints, []);
    });
  });
}

/** Runs in the page: has revocations last longer than any test, and keeps the last answer. */
function lengthenRevocations() {
  const own = window.fetch;
  window.fetch = async (path, options) => {
    if (path !== "v1/revocations") return own(path, options);
    const response = await own(path, { ...options, body: JSON.stringify({ ...JSON.parse(options.body), for: 3600 }) });
    window.revocation = response.clone().json();
    return response;
  };
}
