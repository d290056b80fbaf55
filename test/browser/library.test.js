// The library with the real service, over real sockets. Tests of connections run in Node.js, Chromium, Firefox
// and WebKitGTK. Tests that need a page run in the three browsers. Tests with the same result everywhere run in
// Node.js only.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as span } from "node:timers/promises";
import { WebSocket } from "undici";

import { Call, here } from "./remote.js";
import { engines, open } from "./engines.js";
import { Network } from "./network.js";
import { Service } from "./service.js";
import { Site } from "./site.js";

globalThis.nodePlatform = { WebSocket }; // Node.js 20 has no WebSocket

// The browsers' messages about a failing network, which are not errors of the page.
const networkTrouble = /^(error|uncaught): (Failed to load resource: net::|WebSocket connection to |Firefox can’t establish a connection|The connection to ws:)/;

let lastUid = 1000;

// The engines run in parallel, since their tests mostly wait for tokens to expire.
describe("the library", { concurrency: true, timeout: 600_000 }, () => {
  for (const engine of process.env.ENGINES ? engines : ["node", ...engines]) library(engine);
});

function library(engine) {
  describe(`the library in ${engine}`, { concurrency: 3 }, () => {
    // Tokens of 6 s are renewed 3 to 4.5 s before their expiry, tokens of 12 s 6 to 9 s before.
    const site = new Site();
    /** @type {Service} */
    let service;
    const serve = (...flags) => new Service("serve", ["--min-ttl=3s", `--allowed-origins=${site.origin}`, ...flags]).start();
    before(async () => {
      await site.open();
      service = await serve("--resume-window=1m");
    });
    after(async () => {
      await service.stop();
      site.close();
    });

    /**
     * Opens a page of the app's site. The returned `clean` asserts that the console has no errors and warnings;
     * with `breaks`, messages about a failing network are allowed.
     */
    async function visit(t, { breaks = false, ...options } = {}) {
      const opened = await open(t, { engine, ...options });
      await opened.page.goto(`${site.origin}/app`);
      const clean = () => assert.deepEqual(opened.complaints.filter((text) => !breaks || !networkTrouble.test(text)), []);
      return { ...opened, clean };
    }

    /** Makes a new user. Returns the options for a Refresher, and the address of the user's credential. */
    async function user({ at = service, uid = ++lastUid, ttl = 6, url = at.url } = {}) {
      const subject = `user-${uid}-${++lastUid}`;
      site.credentials.set(subject, await at.grant("--subject", subject, "--channels", "daily", "--uids", `${uid}`, "--roles", "publisher,subscriber"));
      return { options: { url, rtc: { channel: "daily", uid }, ttl }, credentialUrl: `${site.origin}/credentials/${subject}`, subject };
    }

    /** Opens a call that has joined, in Node.js or in a page of its own. */
    async function call(t, { breaks, refusals, ...of } = {}) {
      const { page = here, clean = () => {} } = engine === "node" ? {} : await visit(t, { breaks });
      const { options, credentialUrl, subject } = await user(of);
      const call = await new Call(page).start(options, { credentialUrl, refusals });
      if (engine === "node") t.after(() => call.leave());
      const token = await call.token();
      assert.match(token, /^007/);
      return { call, token, clean, subject };
    }

    if (engine !== "node") inPages();

    test("a call joins with a fetched credential, and its tokens are renewed and confirmed", async (t) => {
      const { call: one, token, clean } = await call(t, { ttl: 12 });
      for (let n = 2; n <= 3; n++) {
        const { seq, cause, marginMs } = await one.first("renewed", n === 2 ? ({ seq }) => seq === 2 : ({ seq }) => seq === 3);
        assert.equal(seq, n);
        assert.equal(cause, "schedule");
        assert.ok(marginMs > 2000 && marginMs < 9500, `${marginMs} ms left`);
      }
      const taken = await one.run(({ taken }) => taken.map(({ token }) => token)); // may have more than two tokens, since another token may have arrived meanwhile
      assert.ok(taken.length >= 2);
      assert.equal(new Set([token, ...taken]).size, taken.length + 1);
      const shown = await service.ask("GET", `/v1/sessions/${await one.session()}`);
      assert.equal(shown.state, "attached");
      await one.leave();
      assert.equal(await one.state(), "ended");
      clean();
    });

    test("a service that is killed and comes back is resumed, and no token runs out", async (t) => {
      const own = await serve();
      t.after(() => own.stop());
      const { call: one, clean } = await call(t, { at: own, ttl: 30, breaks: true });
      await one.first("renewed");
      await own.kill();
      await one.first("lost");
      assert.equal(await one.state(), "away");
      await own.start();
      const { seq, marginMs, rejoin } = await one.first("renewed", ({ cause }) => cause === "resume");
      assert.ok(seq >= 2 && marginMs > 0 && !rejoin, `seq ${seq}, ${marginMs} ms left`);
      assert.equal(await one.state(), "live");
      clean();
    });

    test("where the WebSocket is blocked, tokens are renewed by HTTP, and the WebSocket is taken up again", async (t) => {
      const network = await new Network(() => service.address).open();
      t.after(() => network.close());
      const { call: one, clean } = await call(t, { ttl: 12, url: network.url, breaks: true });
      await one.first("renewed");
      network.set("no-upgrade");
      const { marginMs } = await one.first("renewed", ({ via }) => via === "http");
      assert.ok(marginMs > 0, `${marginMs} ms left`);
      assert.equal(await one.state(), "away");
      const resumed = await one.expect("renewed", ({ via, cause }) => via === "socket" && cause === "resume");
      network.set("up");
      await one.run(({ refresher }) => refresher.wake());
      await resumed();
      assert.equal(await one.state(), "live");
      clean();
    });

    test("a network that goes silent is found out, and the call goes on", async (t) => {
      const own = await serve("--heartbeat=1s");
      t.after(() => own.stop());
      const network = await new Network(() => own.address).open();
      t.after(() => network.close());
      const { call: one, clean } = await call(t, { at: own, ttl: 60, url: network.url, breaks: true });
      await one.first("renewed");
      network.set("silent");
      assert.equal((await one.first("lost")).reason, "no answer");
      network.set("up");
      await one.first("renewed", ({ cause }) => cause === "resume");
      clean();
    });

    if (engine === "node") {
      test("an SDK's refusal arrives as a nack with its code", async (t) => {
        const before = await service.metric('refresher_renewals_total{outcome="nacked"}');
        const { call: one } = await call(t, { refusals: 1 });
        assert.equal((await one.first("refused")).code, "INVALID_OPERATION");
        await one.first("renewed", ({ cause }) => cause === "nack");
        assert.equal(await service.metric('refresher_renewals_total{outcome="nacked"}'), before + 1);
      });

      test("an operator's end reaches the app with its reason", async (t) => {
        const { call: one } = await call(t);
        await service.ask("DELETE", `/v1/sessions/${await one.session()}`);
        const { reason, accessEndsAt } = await one.first("ended");
        assert.equal(reason, "revoked");
        assert.ok(accessEndsAt > Date.now() / 1000);
        const { name } = await one.token();
        assert.equal(name, "EndedError");
      });

      test("a revocation ends the call, and refuses the user's next", async (t) => {
        const { call: one, subject } = await call(t, { ttl: 60 });
        await service.ask("POST", "/v1/revocations", { subject, for: 60 });
        assert.equal((await one.first("ended")).reason, "revoked");
        assert.equal(await one.state(), "ended");
      });

      test("a join that the credential does not grant ends with the service's message", async (t) => {
        const credential = await service.grant("--subject", "eve", "--channels", "weekly", "--uids", "1");
        const one = await new Call(here).start({ ...(await user()).options, credential });
        const { reason, message } = await one.token();
        assert.equal(reason, "forbidden");
        assert.match(message, /rtc\.channel/);
      });

      test("a role changes under the call", async (t) => {
        const { call: one } = await call(t);
        await one.first("renewed");
        await service.ask("PATCH", `/v1/sessions/${await one.session()}`, { rtc: { role: "publisher" } });
        await one.first("renewed", ({ cause }) => cause === "role");
      });
    }

    // The longest tests are first, so that the shorter tests run while the long ones wait.
    function inPages() {
      test("a page that was frozen uses no expired token that waited in its socket", async (t) => {
        const { page, freeze, clean } = await visit(t, { alone: true, breaks: true });
        const { options, credentialUrl } = await user({ ttl: 12 });
        const one = await new Call(page).start(options, { credentialUrl });
        await one.first("renewed");
        await page.evaluate(() => {
          const [{ refresher, seen }] = Object.values(globalThis.calls);
          globalThis.tokens = [];
          refresher.on("tokens", () => void refresher.token("rtc").then(() => globalThis.tokens.push({ at: Date.now(), expiresAt: refresher.expiresAt })));
          globalThis.before = seen.length;
          globalThis.beats = [];
          setInterval(() => globalThis.beats.push(Date.now()), 100);
        });
        const session = await one.session();
        const frozenAt = Date.now();
        let thawedAt = 0;
        const thaw = freeze();
        try {
          // The service pushes twice without an answer, and closes the connection. The page must read these
          // tokens only after they have expired.
          await service.logged((line) => line.session === session && line.msg === "client is silent, closing its connection");
          const { expiresAt } = await service.ask("GET", `/v1/sessions/${session}`);
          await span(expiresAt * 1000 + 1000 - Date.now());
        } finally {
          thawedAt = Date.now();
          thaw();
        }
        await one.first("renewed", ({ via, expiresAt }) => via === "socket" && expiresAt * 1000 > Date.now() + 6000);
        const beats = await page.evaluate(() => globalThis.beats);
        assert.deepEqual(beats.filter((at) => at > frozenAt + 1000 && at < thawedAt), [], "the page was frozen");
        const { seen, tokens, taken } = await one.run(({ seen, taken }) => ({ seen: seen.slice(globalThis.before), tokens: globalThis.tokens, taken }));
        for (const { event, at, now, detail } of seen) {
          assert.ok(Math.abs(now - at) < 3000, `${event}: the service's clock is ${now - at} ms wrong`);
          if (event === "tokens" || event === "renewed") assert.ok(detail.expiresAt * 1000 > at, `${event} of tokens that ended ${at - detail.expiresAt * 1000} ms ago`);
        }
        for (const { at, expiresAt } of [...tokens, ...taken]) assert.ok(expiresAt * 1000 > at, `a token that ended ${at - expiresAt * 1000} ms ago`);
        assert.equal(await one.state(), "live");
        clean();
      });

      test("a page in the background keeps getting tokens", async (t) => {
        const { page, hide, show, clean } = await visit(t, { alone: engine === "chromium" });
        const { options, credentialUrl } = await user({ ttl: 12 });
        const one = await new Call(page).start(options, { credentialUrl });
        await one.first("renewed");
        const hidden = page.evaluate(() => new Promise((resolve) => document.addEventListener("visibilitychange", () => resolve(document.visibilityState))));
        await page.evaluate(() => null); // when the page answers this call, it has added the listener of visibilitychange
        await hide();
        assert.equal(await hidden, "hidden");
        const renewed = await one.expect("renewed");
        const { seq } = await renewed();
        await one.run(({ seen }) => void (globalThis.from = seen.length));
        await one.first("renewed", ({ seq, cause }) => seq >= 3 && cause === "schedule");
        for (const { event, detail } of await one.run(({ seen }) => seen)) {
          assert.ok(!["lost", "ended", "error"].includes(event), event);
          if (event === "renewed" && detail.seq > 1) assert.ok(detail.marginMs > 2000, `${detail.marginMs} ms left`);
        }
        assert.ok(seq >= 2);
        assert.equal(await page.evaluate(() => document.visibilityState), "hidden");
        await show();
        assert.equal(await one.state(), "live");
        clean();
      });

      test("a device that comes online connects at once, without its backoff", { timeout: 120_000 }, async (t) => {
        const network = await new Network(() => service.address).open();
        t.after(() => network.close());
        const { page, setOffline, clean } = await visit(t, { breaks: true });
        const { options, credentialUrl } = await user({ ttl: 60, url: network.url });
        const one = await new Call(page).start(options, { credentialUrl, waitsForWake: true });
        await one.first("renewed");
        await setOffline(true);
        network.set("down"); // in Firefox, setOffline does not break open WebSockets
        const { retryInMs } = await one.first("lost");
        assert.ok(retryInMs > 24 * 3600_000, "the backoff would outlast this test");
        network.set("up");
        await setOffline(false);
        await one.first("renewed", ({ cause }) => cause === "resume");
        clean();
      });

      test("the console says what keeps a page from its first session, once for each cause", async (t) => {
        const own = await new Service("serve", ["--allowed-origins=https://app.example.com"]).start();
        t.after(() => own.stop());
        const { page } = await visit(t, { breaks: true });
        await page.evaluate(() => {
          globalThis.warnings = [];
          console.warn = (text) => globalThis.warnings.push(text);
        });
        const warnings = async (options, credentialUrl) => {
          const one = await new Call(page).start({ rtc: { channel: "daily", uid: 1 }, ...options }, { credentialUrl });
          await one.first("lost");
          await (await one.expect("lost"))();
          await one.leave();
          return page.evaluate(() => globalThis.warnings.splice(0));
        };
        const [refused, ...others] = await warnings({ url: own.url, credential: "a.b.c" });
        assert.match(refused, new RegExp(`^@refresher/client: no connection to ws://${own.address}/v1/ws .*- ${site.origin} is in the service's --allowed-origins: `, "s"));
        assert.deepEqual(others, []);
        const credential = await warnings({ url: service.url }, `${site.origin}/app`);
        assert.deepEqual(credential, ["@refresher/client: no credential was fetched: the credential function returned HTML: is the address right, and the user logged in?"]);
        const one = await new Call(page).start({ url: service.url, rtc: { channel: "daily", uid: 1 } });
        assert.equal((await one.first("ended")).reason, "unauthenticated");
        const [missing] = await page.evaluate(() => globalThis.warnings);
        assert.match(missing, /^@refresher\/client: the service refused to join: unauthenticated: .*The option credential is missing$/);
      });

      // Checks that the driver reports errors, since otherwise the other tests would pass without checking
      // anything.
      test("the driver sets the page's size, and reports a function that fails and the console's errors", async (t) => {
        const { page, complaints } = await open(t, { engine, viewport: { width: 390, height: 700 } });
        await page.goto(`${site.origin}/app`);
        const size = () => page.evaluate(() => [innerWidth, innerHeight]);
        assert.deepEqual(await size(), [390, 700]);
        await page.setViewportSize({ width: 1920, height: 1080 });
        assert.deepEqual(await size(), [1920, 1080]);
        await assert.rejects(page.evaluate(() => Promise.reject(new Error("no"))), /no/);
        await page.evaluate(() => {
          console.log("fine");
          console.error("an error");
          console.warn("a warning");
          setTimeout(() => { throw new Error("thrown"); });
          void Promise.reject(new Error("rejected"));
          return new Promise((resolve) => setTimeout(resolve, 100)); // the browser reports uncaught errors with a delay
        });
        await page.reload();
        assert.deepEqual(complaints.toSorted(), ["error: an error", "uncaught: Error: rejected", "uncaught: Error: thrown", "warning: a warning"]);
      });

      test("a reload of the page keeps the session; a page that opted out opens another", async (t) => {
        const { page, clean } = await visit(t);
        const { options, credentialUrl } = await user({ ttl: 60 });
        const join = async (storage) => {
          const one = await new Call(page).start({ ...options, ...storage }, { credentialUrl });
          const { cause } = await one.first("renewed");
          return { session: await one.session(), cause };
        };
        const first = await join();
        assert.equal(first.cause, "join");
        await page.reload();
        assert.deepEqual(await join(), { session: first.session, cause: "resume" });
        await page.reload();
        assert.equal((await join({ storage: null })).cause, "join");
        clean();
      });

      test("a page that is gone back to goes on with its session", async (t) => {
        const { page, back, clean } = await visit(t, { breaks: true });
        const { options, credentialUrl } = await user({ ttl: 60 });
        const one = await new Call(page).start(options, { credentialUrl });
        await one.first("renewed");
        const session = await one.session();
        await page.goto(`${site.origin}/elsewhere`);
        await back();
        const kept = await page.evaluate(() => !!globalThis.calls);
        t.diagnostic(`the page was ${kept ? "kept" : "loaded again"}`);
        if (kept) {
          await one.first("renewed", ({ cause }) => cause === "resume");
          assert.equal(await one.session(), session);
          assert.equal(await one.state(), "live");
        } else {
          const again = await new Call(page).start(options, { credentialUrl });
          assert.equal((await again.first("renewed")).cause, "resume");
          assert.equal(await again.session(), session);
        }
        clean();
      });

      for (const event of ["pagehide", "visibilitychange"]) {
        test(`a call that its page leaves at ${event}, when the page goes away, is over at once`, async (t) => {
          const { page, clean } = await visit(t);
          const { options, credentialUrl } = await user({ ttl: 60 });
          const one = await new Call(page).start(options, { credentialUrl });
          await one.first("renewed");
          const session = await one.session();
          await page.evaluate((event) => {
            const [{ refresher }] = Object.values(globalThis.calls);
            addEventListener(event, () => refresher.leave(), true);
          }, event);
          await page.goto(`${site.origin}/elsewhere`);
          const { reason } = await service.logged((line) => line.session === session && line.msg === "session ended");
          assert.equal(reason, "left");
          clean();
        });
      }

      for (const { uid, separate } of [{ uid: 0, separate: true }, { uid: 9, separate: false }]) {
        test(`a window that the page opened, with a copy of its storage: uid ${uid} ${separate ? "has a session of its own" : "is the same user, who takes the session over"}`, async (t) => {
          // A reload may interrupt an attempt to connect. The browser then writes a message to the console, so
          // this test allows such messages.
          const { page, popup, clean } = await visit(t, { breaks: true });
          const { options, credentialUrl } = await user({ uid, ttl: 60 });
          const join = async (page) => {
            const one = await new Call(page).start(options, { credentialUrl });
            const { cause } = await one.first("renewed");
            return { one, cause, session: await one.session() };
          };
          const first = await join(page);
          assert.equal(first.cause, "join");
          const other = await popup(() => page.evaluate(() => void window.open("/app")));
          const second = await join(other);
          if (!separate) {
            assert.equal(second.session, first.session);
            assert.equal(second.cause, "resume");
            assert.equal((await first.one.first("ended")).reason, "superseded");
            return clean();
          }
          assert.equal(second.cause, "join");
          assert.notEqual(second.session, first.session);
          assert.equal(await first.one.state(), "live");
          for (const [window, { session }] of [[page, first], [other, second]]) {
            await window.reload();
            const again = await join(window);
            assert.equal(again.cause, "resume");
            assert.equal(again.session, session);
          }
          clean();
        });
      }
    }
  });
}
