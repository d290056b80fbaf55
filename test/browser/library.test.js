// The library in Node.js against the real service, over real sockets.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "undici";

import { EndedError, Refresher } from "../../web/client/index.js";
import { Network } from "./network.js";
import { Service } from "./service.js";

// Tokens of 6 s are renewed 3 to 4.5 s before they end.
const service = new Service("serve", ["--min-ttl=3s", "--ack-timeout=500ms", "--resume-window=1m"]);
before(() => service.start());
after(() => service.stop());

let lastUid = 1000;

/** A call of its own, with the events that it saw. */
async function call(t, { at = service, ttl = 6, ...options } = {}) {
  const uid = ++lastUid;
  const credential = () => at.grant("--subject", `user-${uid}`, "--channels", "daily", "--uids", `${uid}`, "--roles", "publisher,subscriber");
  const refresher = new Refresher({
    url: service.url, credential, rtc: { channel: "daily", uid }, ttl, platform: { WebSocket }, ...options,
  });
  t.after(() => refresher.leave());
  /** @type {[string, any][]} */
  const seen = [];
  const waiting = new Set();
  for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
    refresher.on(event, (detail) => {
      seen.push([event, detail]);
      for (const look of waiting) look();
    });
  }
  /** Resolves with the next event from now on that fits. */
  const next = (event, fits = () => true) => new Promise((resolve) => {
    let from = seen.length;
    const look = () => {
      for (; from < seen.length; from++) {
        if (seen[from][0] !== event || !fits(seen[from][1])) continue;
        waiting.delete(look);
        return resolve(seen[from][1]);
      }
    };
    waiting.add(look);
  });
  return { refresher, next, seen };
}

/** Stands for an SDK that takes every token, and remembers them. */
const sdk = (taken) => ({ renew: async (token) => void taken.push(token) });

describe("the library against the real service", { concurrency: true, timeout: 90_000 }, () => {
  test("a call joins with a fetched credential, and its tokens are renewed and confirmed", async (t) => {
    const { refresher, next } = await call(t);
    const taken = [];
    refresher.bind("rtc", sdk(taken));
    const first = await refresher.token("rtc");
    assert.match(first, /^007/);
    for (let n = 2; n <= 4; n++) {
      const renewed = await next("renewed", ({ seq }) => seq > 1);
      assert.equal(renewed.seq, n);
      assert.equal(renewed.cause, "schedule");
      assert.ok(renewed.marginMs > 2000 && renewed.marginMs < 5000, `${renewed.marginMs} ms left`);
    }
    assert.equal(taken.length, 3);
    assert.equal(new Set([first, ...taken]).size, 4);
    const shown = await service.ask("GET", `/v1/sessions/${refresher.session}`);
    assert.equal(shown.state, "attached");
    refresher.leave();
    assert.equal(refresher.state, "ended");
  });

  test("a service that is killed and comes back is resumed, and no token runs out", async (t) => {
    const own = await new Service("serve", ["--min-ttl=3s"]).start();
    t.after(() => own.stop());
    const { refresher, next } = await call(t, { at: own, ttl: 12, url: own.url });
    const taken = [];
    refresher.bind("rtc", sdk(taken));
    await refresher.token("rtc");
    const lost = next("lost");
    await own.kill();
    await lost;
    assert.equal(refresher.state, "away");
    const renewed = next("renewed", ({ cause }) => cause === "resume");
    await own.start();
    const { seq, marginMs, rejoin } = await renewed;
    assert.ok(seq >= 2 && marginMs > 0 && !rejoin, `seq ${seq}, ${marginMs} ms left`);
    assert.equal(refresher.state, "live");
  });

  test("an SDK's refusal arrives as a nack with its code", async (t) => {
    const { refresher, next } = await call(t);
    let refusals = 1;
    refresher.bind("rtc", {
      renew: async () => {
        if (refusals-- > 0) throw Object.assign(new Error("not joined"), { code: "INVALID_OPERATION" });
      },
    });
    await refresher.token("rtc");
    const before = await service.metric('refresher_renewals_total{outcome="nacked"}');
    const refused = await next("refused");
    assert.equal(refused.code, "INVALID_OPERATION");
    const renewed = await next("renewed");
    assert.equal(renewed.cause, "nack");
    assert.equal(await service.metric('refresher_renewals_total{outcome="nacked"}'), before + 1);
  });

  test("where the WebSocket is blocked, tokens are renewed by HTTP, and the WebSocket is taken up again", async (t) => {
    const network = await new Network(() => service.address).open();
    t.after(() => network.close());
    const { refresher, next } = await call(t, { url: network.url });
    const taken = [];
    refresher.bind("rtc", sdk(taken));
    await refresher.token("rtc");
    const byHttp = next("renewed", ({ via }) => via === "http");
    network.set("no-upgrade");
    const { marginMs } = await byHttp;
    assert.ok(marginMs > 0, `${marginMs} ms left`);
    assert.equal(refresher.state, "away");
    const resumed = next("renewed", ({ via, cause }) => via === "socket" && cause === "resume");
    network.set("up");
    refresher.wake();
    await resumed;
    assert.equal(refresher.state, "live");
  });

  test("a network that goes silent is found out, and the call goes on", async (t) => {
    const own = await new Service("serve", ["--min-ttl=3s", "--heartbeat=1s"]).start();
    t.after(() => own.stop());
    const network = await new Network(() => own.address).open();
    t.after(() => network.close());
    const { refresher, next } = await call(t, { at: own, ttl: 60, url: network.url });
    await refresher.token("rtc");
    network.set("silent");
    const { reason } = await next("lost");
    assert.equal(reason, "no answer");
    network.set("up");
    await next("renewed", ({ cause }) => cause === "resume");
  });

  test("an operator's end reaches the app with its reason", async (t) => {
    const { refresher, next } = await call(t);
    await refresher.token("rtc");
    const ended = next("ended");
    await service.ask("DELETE", `/v1/sessions/${refresher.session}`);
    const { reason, accessEndsAt } = await ended;
    assert.equal(reason, "revoked");
    assert.ok(accessEndsAt > Date.now() / 1000);
    await assert.rejects(refresher.token("rtc"), EndedError);
  });

  test("what is not granted ends with the service's words", async (t) => {
    const credential = await service.grant("--subject", "eve", "--channels", "weekly", "--uids", "1");
    const { refresher } = await call(t, { credential });
    await assert.rejects(refresher.token("rtc"), (error) => error.reason === "forbidden" && error.message.includes("rtc.channel"));
  });

  test("a role changes under the call", async (t) => {
    const { refresher, next } = await call(t);
    refresher.bind("rtc", sdk([]));
    await refresher.token("rtc");
    await next("renewed");
    const renewed = next("renewed", ({ cause }) => cause === "role");
    await service.ask("PATCH", `/v1/sessions/${refresher.session}`, { rtc: { role: "publisher" } });
    await renewed;
  });
});
