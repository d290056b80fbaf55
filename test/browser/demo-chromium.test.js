// Tests of the demo that need Chromium (layout shifts, interception of a CDN), or that have the same result in
// all engines.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as span } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { inCall, metricsRead, neverOut, shifted, visit } from "./demo.js";
import { Service } from "./service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

describe("the demo, in Chromium alone", { concurrency: 6, timeout: 300_000 }, () => {
  test("nothing moves through three renewals of both, with moving pictures", async (t) => {
    const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=10`, { reducedMotion: "no-preference" });
    await inCall({ ana, ben });
    await Promise.all([ana.reached({ renewals: 3 }), ben.reached({ renewals: 3 })]);
    await Promise.all([ana.picture(), ben.picture()]);
    assert.deepEqual(await shifted(page), []);
    assert.deepEqual(complaints, []);
  });

  test("the call survives a new App Certificate, and the end of the old one", async (t) => {
    const own = await new Service("demo").start();
    t.after(() => own.stop());
    const { ana, ben, page, complaints } = await visit(t, `${own.url}/?ttl=120`);
    await inCall({ ana, ben });
    await page.setViewportSize({ width: 360, height: 740 }); // the page's narrowest layout
    const before = (await shifted(page)).length;
    const answer = page.waitForResponse(/\/demo\/certificate$/);
    await page.getByRole("button", { name: "Rotate the certificate" }).click();
    const { oldRefusedAt } = await (await answer).json();
    await Promise.all([ana.reached({ renewals: 1 }), ben.reached({ renewals: 1 })]);
    // After this time, the demo's simulated edge has dropped every client that still has a token of the old
    // certificate.
    await span(Math.max(0, oldRefusedAt * 1000 + 1000 - Date.now()));
    await inCall({ ana, ben });
    await neverOut(ana, ben);
    assert.match((await ana.timeline()).join("\n"), /certificate/i);
    assert.deepEqual((await shifted(page)).slice(before), []);
    assert.deepEqual(complaints, []);
  });

  test("nothing else on the page moves, whatever becomes of a call", async (t) => {
    await Promise.all([360, 1280].map(async (width) => {
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

  test("another lifetime also applies to a person without a refresher", async (t) => {
    const { ana, ben, page } = await visit(t, `${service.url}/?ttl=30`);
    await inCall({ ana, ben });
    await ben.switch("Refresher").click();
    await ben.reached({ refresher: "off" });
    await page.getByLabel("Tokens last").selectOption("120");
    await inCall({ ana, ben });
    for (const { ring } of [ana, ben]) await ring.and(page.locator('[aria-valuetext^="1:"]')).waitFor();
  });

  test("tokens that the SDK refuses are replaced until it takes one", async (t) => {
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

  test("tokens that arrive while a person is out of the call do not count as renewals on time", async (t) => {
    const { ana, ben, page } = await visit(t, `${service.url}/?ttl=10`);
    await inCall({ ana, ben });
    // Another client joins with Ben's uid, so the demo's simulated edge drops Ben.
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

  test("with a real App ID the call is Agora's: its SDK from its CDN, and under the page's policy", async (t) => {
    const own = new Service("demo").set({
      AGORA_APP_ID: "0123456789abcdef0123456789abcdef", AGORA_APP_CERTIFICATE: "fedcba9876543210fedcba9876543210",
    });
    await own.start();
    t.after(() => own.stop());
    const sdk = fileURLToPath(new URL("node_modules/agora-rtc-sdk-ng/AgoraRTC_N-production.js", import.meta.url));
    // The test serves Agora's package instead of Agora's CDN. Requests to Agora's other servers fail.
    const { ana, page, complaints, hosts } = await visit(t, own.url, {}, async ({ context }) => {
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

  test("without the refresher the call drops when its token runs out, and with it again it is back", async (t) => {
    const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=10`);
    await inCall({ ana, ben });
    await ben.switch("Refresher").click();
    await ben.reached({ call: "out", refresher: "off" });
    assert.match(await ben.status(), /ran out/i);
    assert.match(await ben.tile.innerText(), /Call lost[^]*\d:\d\d[^]*Without refresher/);
    assert.equal(await ben.ring.getAttribute("aria-valuetext"), "none");
    await ben.tile.getByText(/^(?!0:0[0-2]$)[\d:]+$/).waitFor(); // the tile counts the seconds without a picture
    assert.deepEqual((await ana.calls()).at(-1), "in");
    await ben.switch("Refresher").click();
    await inCall({ ana, ben });
    await neverOut(ana);
    assert.deepEqual(complaints, []);
  });

  test("a promotion and a demotion reach the call at once", async (t) => {
    const { ana, ben, complaints } = await visit(t, `${service.url}/?ttl=60`);
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
    const { ana, ben, page, complaints } = await visit(t, `${service.url}/?ttl=60`);
    await inCall({ ana, ben });
    await page.evaluate(lengthenRevocations);
    await ben.press("Revoke");
    await ben.reached({ call: "out", refresher: "ended" });
    assert.match(await ben.status(), /revoked|operator/i);
    // Ben's token is still valid, but the ring shows no token, since he is not in the call.
    await ben.tile.getByText("Call ended", { exact: true }).waitFor();
    assert.equal(await ben.ring.getAttribute("aria-valuetext"), "none");
    await ben.press("Join again");
    await ben.section.getByText(/^The service refuses Ben until/).waitFor();
    await ben.reached({ call: "out", refresher: "ended" });
    assert.equal(await page.evaluate(async () => (await fetch(`/v1/revocations/${(await window.revocation).id}`, { method: "DELETE" })).status), 200);
    await ben.press("Join again");
    await inCall({ ana, ben });
    await neverOut(ana);
    assert.deepEqual(complaints, ["warning: @refresher/client: the service refused to join: forbidden: access was revoked"]);
  });

  test("operators see what the service counts", async (t) => {
    // This test has its own service: on the shared service, sessions of earlier tests would count as at risk.
    const own = await new Service("demo").start();
    t.after(() => own.stop());
    const { ana, ben, page, complaints } = await visit(t, `${own.url}/?ttl=10`);
    await inCall({ ana, ben });
    await ana.reached({ renewals: 1 });
    await page.getByRole("link", { name: "Operators" }).click();
    await metricsRead(page, 3);
    // The tokens are so short-lived that a session counts as at risk between each push and its ack, so the test waits
    // for a moment without such a session.
    const main = page.getByRole("main");
    await main.filter({ hasText: /At risk\s*0/ }).waitFor();
    assert.match(await main.innerText(), /schedule/i);
    assert.match(await main.innerText(), /Renewals\s+0\.\d\d a second[^]*In the last 2 min: [1-9]\d* confirmed, 0 refused by an SDK, 0 ran out/);
    assert.match(await main.innerText(), /Margin\s+at least \d+ s/);
    // A session that lost its connection counts as away, and its renewal as expired.
    await page.getByRole("link", { name: "Call" }).click();
    await ben.switch("Refresher").click();
    await ben.reached({ call: "out" });
    await page.getByRole("link", { name: "Operators" }).click();
    await main.filter({ hasText: /Sessions\s*1\s*connected, 1 away/ }).waitFor();
    await main.filter({ hasText: /, 1 ran out unconfirmed/ }).waitFor();
    assert.deepEqual(complaints, []);
  });

  /** Opens the demo in a browser that lacks a feature: `init` removes the feature. */
  const without = (t, init, { ttl = 60 } = {}) => visit(t, `${service.url}/?ttl=${ttl}`, {}, ({ page }) => page.addInitScript(init));
  const live = (...people) => Promise.all(people.map((person) => person.reached({ call: "in", refresher: "live" })));

  test("without WebRTC the page says what is missing, and the rest works", async (t) => {
    const { ana, ben, page, complaints } = await without(t, () => void delete window.RTCPeerConnection, { ttl: 10 });
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

  test("without a video of a canvas there is no picture, but sound", async (t) => {
    const { ana, ben, page, complaints } = await without(t, () => void delete HTMLCanvasElement.prototype.captureStream);
    await live(ana, ben);
    await page.getByRole("status").filter({ hasText: /^No picture: this browser makes no video of a canvas/ }).waitFor();
    await page.getByRole("switch", { name: "Sound" }).click();
    assert.ok(await page.getByRole("switch", { name: "Sound" }).isChecked());
    assert.deepEqual(complaints, []);
  });

  test("without a video codec there is no picture", async (t) => {
    const { ana, ben, page } = await without(t, () => void (RTCRtpSender.getCapabilities = () => ({ codecs: [{ mimeType: "video/rtx" }], headerExtensions: [] })));
    await live(ana, ben);
    await page.getByRole("status").filter({ hasText: /^No picture: this browser has no video codec/ }).waitFor();
    await ana.tile.getByText("No picture in this browser.").waitFor();
  });

  test("where WebRTC does not start, the call goes on without it", async (t) => {
    const { ana, ben, page, complaints } = await without(t, () => {
      window.RTCPeerConnection = class { constructor() { throw new Error("by policy"); } };
    });
    await live(ana, ben);
    await page.getByRole("status").filter({ hasText: /WebRTC does not start in this browser \(by policy\)/ }).waitFor();
    assert.deepEqual(complaints, []);
  });

  test("a picture that the browser does not play has a button", async (t) => {
    const { ana, ben } = await without(t, () => {
      let clicked = false; // navigator.userActivation cannot be used, since the browser counts Playwright's calls as the user's actions
      addEventListener("click", () => (clicked = true), true);
      const { play } = HTMLMediaElement.prototype;
      HTMLMediaElement.prototype.play = async function () {
        if (!clicked) throw new DOMException("no", "NotAllowedError");
        return play.call(this);
      };
    });
    await live(ana, ben);
    await ana.tile.getByText("This browser waits for a click.").waitFor();
    await ana.press("Play the picture of Ana");
    await ana.picture();
    await ana.tile.getByText("This browser waits for a click.").waitFor({ state: "hidden" });
  });

  test("without storage, locks and a clipboard, as over plain HTTP, there is no button to copy", async (t) => {
    const { ana, ben, page, complaints } = await without(t, () => {
      Object.defineProperty(window, "sessionStorage", { get() { throw new DOMException("no", "SecurityError"); } });
      for (const name of ["locks", "clipboard"]) delete Navigator.prototype[name];
    });
    await inCall({ ana, ben });
    assert.equal(await page.getByRole("button", { name: /^Copy/, includeHidden: false }).count(), 0);
    assert.deepEqual(complaints, []);
  });

  test("where the service does not answer, the page says so and offers no controls", async (t) => {
    const { page } = await visit(t, service.url, {}, ({ route }) => route(/\/demo\/config\.json$/, { status: 502, body: "<h1>Bad gateway</h1>" }));
    await page.getByRole("alert").filter({ hasText: /^No call can be made: the service did not answer, .* status 502\.$/ }).waitFor();
    assert.equal(await page.getByRole("switch").count(), 0);
    await page.getByRole("link", { name: "Operators" }).click();
    await metricsRead(page, 1);
    await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
  });
});

/** Runs in the page: makes revocations last longer than the test, and stores the answer to the last revocation. */
function lengthenRevocations() {
  const own = window.fetch;
  window.fetch = async (path, options) => {
    if (path !== "v1/revocations") return own(path, options);
    const response = await own(path, { ...options, body: JSON.stringify({ ...JSON.parse(options.body), for: 3600 }) });
    window.revocation = response.clone().json();
    return response;
  };
}
