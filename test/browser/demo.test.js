// The demo in Chromium: two people in a call by WebRTC, held by the stand-in for
// Agora's edge, which admits and drops by the real token, and kept in tokens by
// the real library and the real service.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as span } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { metricsRead, shifted, visit } from "./demo.js";
import { Network } from "./network.js";
import { Service } from "./service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

/** Both are in the call, and their pictures arrive. */
async function inCall({ ana, ben }) {
  await Promise.all([ana.reached({ call: "in", refresher: "live" }), ben.reached({ call: "in", refresher: "live" })]);
  await Promise.all([ana.picture(), ben.picture()]);
}

/** Neither of them was out of the call since it began. */
async function neverOut(...people) {
  for (const person of people) {
    const calls = await person.calls();
    assert.ok(!calls.slice(calls.indexOf("in")).includes("out"), `${calls}`);
  }
}

describe("the demo", { concurrency: 4, timeout: 180_000 }, () => {
  test("the call goes on through five renewals of both, without a word in the console or to another host", async (t) => {
    const { ana, ben, complaints, hosts, page } = await visit(t, `${service.url}/?ttl=10`, { reducedMotion: "no-preference" });
    await inCall({ ana, ben });
    await Promise.all([ana.reached({ renewals: 5 }), ben.reached({ renewals: 5 })]);
    await Promise.all([ana.picture(), ben.picture()]);
    await neverOut(ana, ben);
    assert.match((await ana.timeline()).join("\n"), /schedule/i);
    assert.deepEqual(await shifted(page), []);
    assert.deepEqual([...hosts], ["127.0.0.1"]);
    assert.deepEqual(complaints, []);
  });

  test("the call survives 20 s without any network", async (t) => {
    const network = await new Network(() => service.address).open();
    t.after(() => network.close());
    const { ana, ben, complaints } = await visit(t, `${network.url}/?ttl=60`);
    await inCall({ ana, ben });
    network.set("down");
    await Promise.all([ana.reached({ refresher: "away|connecting" }), ben.reached({ refresher: "away|connecting" })]);
    await span(20_000);
    network.set("up");
    await inCall({ ana, ben });
    await neverOut(ana, ben);
    // A connection that was refused is the browser's own word.
    assert.deepEqual(complaints.filter((text) => !/Failed to load resource: net::|WebSocket connection to/.test(text)), []);
  });

  test("the call survives a service that is killed and comes back", async (t) => {
    const own = new Service("demo", ["--stand-in"]).set({
      AGORA_APP_ID: "0123456789abcdef0123456789abcdef", AGORA_APP_CERTIFICATE: "fedcba9876543210fedcba9876543210",
    });
    await own.start();
    t.after(() => own.stop());
    const { ana, ben } = await visit(t, `${own.url}/?ttl=60`);
    await inCall({ ana, ben });
    await own.kill();
    await Promise.all([ana.reached({ refresher: "away|connecting" }), ben.reached({ refresher: "away|connecting" })]);
    await own.start();
    await inCall({ ana, ben });
    await neverOut(ana, ben);
    assert.match((await ana.timeline()).join("\n"), /resume/i);
  });

  test("the call survives a new App Certificate, and the end of the old one", async (t) => {
    const own = await new Service("demo").start();
    t.after(() => own.stop());
    const { ana, ben, page, complaints } = await visit(t, `${own.url}/?ttl=120`);
    await inCall({ ana, ben });
    await page.setViewportSize({ width: 360, height: 740 }); // where words have the least room
    const before = (await shifted(page)).length;
    const answer = page.waitForResponse(/\/demo\/certificate$/);
    await page.getByRole("button", { name: "Rotate the certificate" }).click();
    const { oldRefusedAt } = await (await answer).json();
    await Promise.all([ana.reached({ renewals: 1 }), ben.reached({ renewals: 1 })]);
    await span(Math.max(0, oldRefusedAt * 1000 + 1000 - Date.now())); // who still has an old token is out by then
    await inCall({ ana, ben });
    await neverOut(ana, ben);
    assert.match((await ana.timeline()).join("\n"), /certificate/i);
    assert.deepEqual((await shifted(page)).slice(before), []);
    assert.deepEqual(complaints, []);
  });

  test("without the refresher the call drops when its token runs out, and with it again it is back", async (t) => {
    const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=10`);
    await inCall({ ana, ben });
    await ben.switch("Refresher").click();
    await ben.reached({ call: "out", refresher: "off" });
    assert.match(await ben.story(), /ran out/i);
    assert.match(await ben.tile.innerText(), /Call lost[^]*\d:\d\d[^]*Without refresher/);
    assert.equal(await ben.ring.getAttribute("aria-valuetext"), "none");
    await ben.tile.getByText(/^(?!0:0[0-2]$)[\d:]+$/).waitFor(); // seconds that are lost are counted
    assert.deepEqual((await ana.calls()).at(-1), "in");
    await ben.switch("Refresher").click();
    await inCall({ ana, ben });
    await neverOut(ana);
    assert.deepEqual(complaints, []);
  });

  test("nothing else on the page moves, whatever becomes of a call", async (t) => {
    await Promise.all([360, 768, 1280].map(async (width) => {
      const { ana, ben, page } = await visit(t, `${service.url}/?ttl=10`, { viewport: { width, height: 800 } });
      await inCall({ ana, ben });
      await ben.switch("Refresher").click();
      await ben.reached({ call: "out", refresher: "off" });
      await ben.switch("Refresher").click();
      await inCall({ ana, ben });
      await ana.switch("Network").click();
      await ana.reached({ call: "reconnecting" });
      await ana.switch("Network").click();
      await inCall({ ana, ben });
      await ben.press("Revoke");
      await ben.reached({ call: "out", refresher: "ended" });
      assert.deepEqual(await shifted(page), [], `${width} px`);
    }));
  });

  test("another lifetime is taken by who has no refresher, too", async (t) => {
    const { ana, ben, page } = await visit(t, `${service.url}/?ttl=30`);
    await inCall({ ana, ben });
    await ben.switch("Refresher").click();
    await ben.reached({ refresher: "off" });
    await page.getByLabel("Tokens last").selectOption("120");
    await inCall({ ana, ben });
    for (const { ring } of [ana, ben]) await ring.and(page.locator('[aria-valuetext^="1:"]')).waitFor();
  });

  test("a socket that is killed is resumed, and a network that fails for one is survived", async (t) => {
    const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=60`);
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

  test("what the SDK refuses is made anew, until it takes it", async (t) => {
    const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=30`);
    await inCall({ ana, ben });
    await ana.switch("SDK refuses").click();
    await ana.entries(/refused/i).first().waitFor({ state: "attached" });
    await ana.switch("SDK refuses").click();
    const before = await ana.renewals();
    await ana.reached({ renewals: before + 1 });
    await neverOut(ana, ben);
    assert.match((await ana.timeline()).join("\n"), /nack/i);
    assert.deepEqual(complaints, []);
  });

  test("a promotion and a demotion reach the call at once", async (t) => {
    const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=60`);
    await inCall({ ana, ben });
    await ben.press("Make audience");
    await ben.reached({ renewals: 1 });
    await ben.section.getByRole("button", { name: "Promote to publisher" }).waitFor();
    await ben.press("Promote to publisher");
    await ben.reached({ renewals: 2 });
    await ben.picture();
    await neverOut(ana, ben);
    assert.deepEqual(complaints, []);
  });

  test("a revocation ends one call and leaves the other, and after it one may join again", async (t) => {
    const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=60`);
    await inCall({ ana, ben });
    // As the page does it, but for longer than any of this takes.
    await page.route("**/v1/revocations", (route) => route.continue({ postData: { ...route.request().postDataJSON(), for: 3600 } }));
    const answer = page.waitForResponse("**/v1/revocations");
    await ben.press("Revoke");
    const { id } = await (await answer).json();
    await ben.reached({ call: "out", refresher: "ended" });
    assert.match(await ben.story(), /revoked|operator/i);
    // The token still works, but he who is out uses none.
    await ben.tile.getByText("Call ended", { exact: true }).waitFor();
    assert.equal(await ben.ring.getAttribute("aria-valuetext"), "none");
    await ben.press("Join again");
    await ben.section.getByText(/^The service refuses Ben until/).waitFor();
    await ben.reached({ call: "out", refresher: "ended" });
    assert.equal(await page.evaluate(async (id) => (await fetch(`/v1/revocations/${id}`, { method: "DELETE" })).status, id), 200);
    await ben.press("Join again");
    await inCall({ ana, ben });
    await neverOut(ana);
    assert.deepEqual(complaints, []);
  });

  test("tokens that come while one is out of the call are not called renewed on time", async (t) => {
    const { ana, ben, page } = await visit(t, `${service.url}/?ttl=10`);
    await inCall({ ana, ben });
    // Somebody else joins as Ben, and the edge throws him out.
    await page.evaluate(async () => {
      const channel = sessionStorage.getItem("refresher demo channel");
      const { rtcToken } = await (await fetch(`/rtc/${channel}/publisher/uid/1002`)).json();
      window.other = new WebSocket(new URL("demo/edge", location.href));
      window.other.onopen = () => window.other.send(JSON.stringify({ op: "join", leg: "rtc", id: 1, channel, user: "1002", token: rtcToken }));
    });
    await ben.reached({ call: "out" });
    const [renewals, entries] = [await ben.renewals(), await ben.entries(/on schedule/).count()];
    await ben.entries(/on schedule/).nth(entries).waitFor({ state: "attached" });
    assert.match(await ben.entries(/on schedule/).first().textContent(), /A token to join again with/);
    assert.equal(await ben.renewals(), renewals);
  });

  test("a reload keeps the sessions", async (t) => {
    const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=60`);
    await inCall({ ana, ben });
    await page.reload();
    await inCall({ ana, ben });
    assert.match((await ana.timeline()).join("\n"), /resume/i);
    assert.deepEqual(complaints, []);
  });

  test("operators see what the service counts", async (t) => {
    // One of its own: sessions that the tests above have left behind are at risk.
    const own = await new Service("demo").start();
    t.after(() => own.stop());
    const { ana, ben, page, complaints } = await visit(t, `${own.url}/?ttl=10`);
    await inCall({ ana, ben });
    await ana.reached({ renewals: 1 });
    await page.getByRole("link", { name: "Operators" }).click();
    await metricsRead(page, 3);
    // A session is at risk from a push to its ack too, with tokens as short as these.
    await page.getByRole("main").filter({ hasText: /At risk\s*0/ }).waitFor();
    const main = page.getByRole("main");
    assert.match(await main.innerText(), /schedule/i);
    assert.match(await main.innerText(), /Renewals\s+0\.\d\d a second[^]*In the last 2 min: [1-9]\d* confirmed, 0 refused by an SDK, 0 ran out/);
    assert.match(await main.innerText(), /Margin\s+at least \d+ s/);
    // A call that is being lost is not one that all is well with.
    await page.getByRole("link", { name: "Call" }).click();
    await ben.switch("Refresher").click();
    await ben.reached({ call: "out" });
    await page.getByRole("link", { name: "Operators" }).click();
    await main.filter({ hasText: /Sessions\s*1\s*connected, 1 away/ }).waitFor();
    await main.filter({ hasText: /, 1 ran out unconfirmed/ }).waitFor();
    assert.deepEqual(complaints, []);
  });

  test("with a real App ID the call is Agora's: its SDK from its CDN, and under the page's policy", async (t) => {
    const own = new Service("demo").set({
      AGORA_APP_ID: "0123456789abcdef0123456789abcdef", AGORA_APP_CERTIFICATE: "fedcba9876543210fedcba9876543210",
    });
    await own.start();
    t.after(() => own.stop());
    const sdk = fileURLToPath(new URL("node_modules/agora-rtc-sdk-ng/AgoraRTC_N-production.js", import.meta.url));
    // Agora is not to be had here: its CDN is the package, and its servers don't answer.
    const { ana, page, complaints, hosts } = await visit(t, own.url, {}, async (context) => {
      await context.route(/^https:/, (route) => route.abort());
      await context.route("https://download.agora.io/sdk/release/AgoraRTC_N-4.24.8.js", (route) => route.fulfill({ path: sdk, contentType: "text/javascript" }));
    });
    await ana.reached({ refresher: "live" });
    const joins = page.waitForRequest(/^https:\/\/[^/]*\.(agora\.io|sd-rtn\.com)\/api\/v\d\/transpond/);
    assert.equal(await page.evaluate(() => AgoraRTC.VERSION), "4.24.8");
    const asked = (await joins).postData() ?? "";
    assert.match(asked, /0123456789abcdef0123456789abcdef/);
    for (const host of hosts) assert.match(host, /^127\.0\.0\.1$|\.(agora\.io|sd-rtn\.com)$/);
    assert.deepEqual(complaints.filter((text) => /policy|violat|uncaught/i.test(text)), []);
  });
});
