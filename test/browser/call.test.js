// Whole calls with the published agora-rtc-sdk-ng and the real service: the SDK joins calls at a simulated
// Agora edge (page/agora.js), and sends to this edge each token that the service mints.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { engines, open } from "./engines.js";
import { servePages } from "./pages.js";
import { Service } from "./service.js";

/** @type {Awaited<ReturnType<typeof servePages>>} */
let site;
/** @type {Service} */
let service;
before(async () => {
  site = await servePages({ call: {}, "call-react": {} });
  service = new Service("serve", ["--min-ttl=3s", `--allowed-origins=${site.origin}`]);
  await service.start();
});
after(async () => {
  await service.stop();
  site.close();
});

for (const engine of engines.filter((engine) => engine !== "webkit")) { // Debian's WebKitGTK has no WebRTC, which AgoraRTC needs
  describe(`a call of agora-rtc-sdk-ng in ${engine}`, { timeout: 180_000 }, () => {
    const app = async (t, uid, path = "call") => {
      const { page, complaints } = await open(t, { engine });
      await page.goto(`${site.origin}/${path}`);
      const credential = await service.grant("--subject", "ana", "--channels", "daily", "--uids", `${uid}`, "--roles", "publisher");
      return { page, complaints, options: { url: service.url, credential, ttl: 6, rtc: { channel: "daily", uid, role: "publisher" } } };
    };

    test("each token of the service goes to the edge by renewToken, and is confirmed", async (t) => {
      const { page, complaints, options } = await app(t, 1);
      const { renewals, tokens, session } = await page.evaluate(async (options) => {
        const { refresher } = await call(options);
        const renewals = [];
        await new Promise((resolve) => refresher.on("renewed", ({ seq, services, marginMs }) => {
          renewals.push({ seq, services, late: marginMs <= 0 });
          if (seq === 3) resolve();
        }));
        return { renewals, tokens: edge.tokens, session: refresher.session };
      }, options);
      assert.deepEqual(renewals.filter(({ seq }) => seq > 1), [{ seq: 2, services: ["rtc"], late: false }, { seq: 3, services: ["rtc"], late: false }]);
      assert.deepEqual(tokens.map(({ by }) => by), ["join", "renew", "renew"]);
      assert.equal(new Set(tokens.map(({ token }) => token)).size, 3);
      for (const { token } of tokens) {
        const { services } = await service.ask("POST", "/v1/tokens/inspect", { token, service: "rtc", channel: "daily", uid: 1 });
        assert.deepEqual(services.map(({ type, channel, user }) => [type, channel, user]), [["rtc", "daily", "1"]]);
      }
      const { state, lastAckAt } = await service.ask("GET", `/v1/sessions/${session}`);
      assert.equal(state, "attached");
      assert.ok(lastAckAt > 0, "the service had an ack of a push");
      // The simulated edge carries no media, which Firefox reports after some 20 s, so only in a slow run.
      assert.deepEqual(complaints.filter((text) => !text.includes("ICE failed")), []);
    });
    if (engine !== "chromium") return; // the tests after this line have the same result in all engines, so one engine is enough

    test("a token that the edge refuses is made anew, and the call goes on", async (t) => {
      const { page, options } = await app(t, 2);
      const { code, tokens, session } = await page.evaluate(async (options) => {
        const { refresher } = await call(options);
        edge.refuses = 110;
        const { code } = await new Promise((resolve) => refresher.on("refused", resolve));
        edge.refuses = 0;
        await new Promise((resolve) => refresher.on("renewed", resolve));
        return { code, tokens: edge.tokens, session: refresher.session };
      }, options);
      assert.equal(code, "UNEXPECTED_RESPONSE");
      assert.equal((await service.logged((line) => line.session === session && line.sdk_code)).sdk_code, code);
      assert.deepEqual(tokens.map(({ by }) => by), ["join", "renew"]);
    });

    test("a client that the edge threw out for its token joins again with a new one", async (t) => {
      const { page, options } = await app(t, 3);
      const { states, tokens } = await page.evaluate(async (options) => {
        const { client, refresher } = await call({ ...options, ttl: 60 });
        const states = [];
        const back = new Promise((resolve) => client.on("connection-state-change", (now, before, reason) => {
          states.push(`${now}${reason ? ` ${reason}` : ""}`);
          if (now === "CONNECTED") resolve();
        }));
        edge.expires();
        await back;
        refresher.leave();
        return { states, tokens: edge.tokens };
      }, options);
      assert.deepEqual(states, ["DISCONNECTING", "DISCONNECTED TOKEN_EXPIRE", "CONNECTING", "CONNECTED"]);
      assert.deepEqual(tokens.map(({ by }) => by), ["join", "join"]);
    });

    test("the README's hook for agora-rtc-react joins, renews, joins again, and leaves with its component", async (t) => {
      const { page, complaints, options } = await app(t, 4, "call-react");
      const { rtc: _, ...rest } = options;
      const tokens = await page.evaluate(async (options) => {
        show(options, "0123456789abcdef0123456789abcdef", "daily", 4);
        await tokens(2);
        edge.expires();
        return tokens(3);
      }, rest);
      assert.deepEqual(tokens.map(({ by }) => by), ["join", "renew", "join"]);
      const { sessions: [{ id }] } = await service.ask("GET", "/v1/sessions?channel=daily&uid=4");
      await page.evaluate(() => hide());
      const { reason } = await service.logged((line) => line.session === id && line.msg === "session ended");
      assert.equal(reason, "left");
      assert.deepEqual(complaints, []);
    });
  });
}
