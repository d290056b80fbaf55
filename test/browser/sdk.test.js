// The library in Chromium with the real objects of Agora's Web SDKs and the real service. The SDKs cannot reach
// Agora's edge, so they never join: the tests check the events that they emit without an edge. Tests of whole
// calls are in call.test.js.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { open } from "./engines.js";
import { Service } from "./service.js";
import { Site } from "./site.js";

const site = new Site();

/** @type {Service} */
let service;
before(async () => {
  await site.open();
  service = new Service("serve", ["--min-ttl=3s", `--allowed-origins=${site.origin}`]);
  await service.start();
});
after(async () => {
  await service.stop();
  site.close();
});

/** Opens the app's page. Resolves with the page, and with a user's options for a Refresher. */
async function app(t, uid) {
  const opened = await open(t);
  // Answers the requests by which the SDKs send statistics to Agora.
  await opened.context.route(/\.(agora\.io|sd-rtn\.com)\//, (route) => route.fulfill({ status: 200, body: "" }));
  await opened.page.goto(site.origin);
  const credential = await service.grant("--subject", "ana", "--channels", "daily", "--uids", `${uid}`, "--roles", "publisher", "--rtm-users", "ana");
  return { ...opened, options: { url: service.url, credential, ttl: 6, rtc: { channel: "daily", uid, role: "publisher" }, rtm: { userId: "ana" } } };
}

describe("the library in Chromium", { concurrency: true, timeout: 90_000 }, () => {
  test("the real RTC client refuses a renewal before it has joined, and the service logs its code", async (t) => {
    const { page, options, complaints } = await app(t, 1);
    await page.addScriptTag({ url: "/agora-rtc.js" });
    const { token, refused, session } = await page.evaluate(async ({ rtm: _, ...options }) => {
      const { Refresher } = await import("/client/index.js");
      const { bindRtc } = await import("/client/bindings/rtc.js");
      AgoraRTC.setLogLevel(4);
      const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
      const refresher = new Refresher(options);
      bindRtc(refresher, client);
      const token = await refresher.token("rtc"); // the app is about to join with this token
      const refused = await new Promise((resolve) => refresher.on("refused", resolve));
      const { session } = refresher;
      await new Promise((resolve) => refresher.on("tokens", resolve)); // waits for the bundle that replaces the refused bundle
      refresher.leave();
      return { token, refused, session };
    }, options);
    assert.match(token, /^007/);
    assert.equal(refused.service, "rtc");
    assert.equal(refused.code, "INVALID_OPERATION");
    const heard = await service.logged((line) => line.session === session && line.sdk_code);
    assert.equal(heard.sdk_code, "INVALID_OPERATION");
    assert.deepEqual(complaints, []);
  });

  /**
   * Binds the real RTM client, and runs `acts` in the page. Resolves with the client's events, and with whether
   * the next bundle was delivered to the client.
   */
  const rtmAfter = (page, options, acts) => page.evaluate(async ({ options: { rtc: _, ...options }, acts }) => {
    const { Refresher } = await import("/client/index.js");
    const { bindRtm } = await import("/client/bindings/rtm.js");
    const rtm = new AgoraRTM.RTM("0123456789abcdef0123456789abcdef", "ana", { logLevel: "none" });
    const events = [];
    rtm.addEventListener("linkState", ({ serviceType, currentState, reasonCode }) => events.push(`${serviceType} ${currentState} ${reasonCode}`));
    rtm.addEventListener("status", ({ channelName, state, reason }) => events.push(`${channelName ?? "login"} ${state} ${reason}`));
    const refresher = new Refresher(options);
    bindRtm(refresher, rtm, { rejoin: () => events.push("rejoin") });
    await refresher.token("rtm");
    await new Function("rtm", `return (async () => { ${acts} })()`)(rtm);
    await new Promise((resolve) => refresher.on("tokens", resolve));
    const handed = await new Promise((resolve) => {
      // The client refuses each token, since it is not logged in.
      refresher.on("refused", ({ service, code }) => resolve(`${service} refused: ${code}`));
      refresher.on("renewed", ({ services }) => resolve(`services: ${services}`));
    });
    refresher.leave();
    return { events, handed };
  }, { options, acts });

  test("a stream channel that the real RTM client could not join does nothing to its login", async (t) => {
    const { page, options } = await app(t, 6);
    await page.addScriptTag({ url: "/agora-rtc.js" }); // the version of agora-rtm that the next line loads uses the page's AgoraRTC
    await page.addScriptTag({ url: "/agora-rtm.js" });
    const { events, handed } = await rtmAfter(page, options, `
      const stream = rtm.createStreamChannel("room");
      await stream.join({ token: "007none" }).catch(() => {});
    `);
    t.diagnostic(events.join(", "));
    assert.ok(events.some((event) => event.startsWith("STREAM FAILED")), `${events}`);
    assert.match(handed, /^rtm refused: -\d+$/);
  });

  test("a real RTM client whose login failed for another reason than its token gets no tokens", async (t) => {
    const { page, options } = await app(t, 7);
    await page.addScriptTag({ url: "/agora-rtc.js" });
    await page.addScriptTag({ url: "/agora-rtm.js" });
    const { events, handed } = await rtmAfter(page, options, `await rtm.login({ token: " " }).catch(() => {});`);
    t.diagnostic(events.join(", "));
    assert.ok(events.some((event) => /^MESSAGE FAILED (?!TOKEN_EXPIRED)/.test(event)), `${events}`);
    assert.equal(handed, "services: ");
  });
});
