// token(): which token it resolves with, and when it rejects.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EndedError } from "../index.js";
import { Simulation, hour, second, settle } from "./fakes/index.js";

test("token() waits for the first bundle", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  let token;
  void refresher.token("rtc").then((first) => (token = first));
  await settle();
  assert.equal(token, undefined);
  const joined = sim.joined();
  await sim.socket.opens();
  await sim.socket.says(joined);
  assert.equal(token, joined.tokens.rtc.token);
});

test("token() resolves with the newest token, also one that no SDK has taken yet", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  refresher.bind("rtc", { renew: () => new Promise(() => {}) });
  const push = sim.push({ seq: 2 });
  await refresher.token("rtc");
  await socket.says(push);
  assert.equal(await refresher.token("rtc"), push.tokens.rtc.token);
});

test("token() never resolves with an expired token: it waits for the next", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 60, renewBefore: 0 });
  await sim.pass(60 * second - 1);
  assert.ok(await refresher.token("rtc"));
  await sim.pass(1);
  let token;
  void refresher.token("rtc").then((next) => (token = next));
  await settle();
  assert.equal(token, undefined);
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  assert.equal(token, push.tokens.rtc.token);
});

test("token() uses the service's clock, not the device's", async (t) => {
  for (const error of [-9 * hour, 9 * hour]) {
    const sim = new Simulation(t);
    sim.wallError = error;
    const { refresher, socket } = await sim.live({}, { ttl: 60, renewBefore: 0 });
    await sim.pass(59 * second);
    assert.ok(await refresher.token("rtc"));
    await sim.pass(2 * second);
    let token;
    void refresher.token("rtc").then((next) => (token = next));
    await settle();
    assert.equal(token, undefined);
    await socket.says(sim.push({ seq: 2 }));
    assert.ok(token);
  }
});

test("token() rejects with an EndedError after the end, and when the end comes while it waits", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const waits = refresher.token("rtc").catch((error) => error);
  await settle();
  await sim.socket.opens();
  await sim.socket.refuses(4403, "forbidden", "rtc.channel: the credential does not grant this");
  for (const error of [await waits, await refresher.token("rtc").catch((late) => late)]) {
    assert.ok(error instanceof EndedError);
    assert.ok(error instanceof Error);
    assert.equal(error.name, "EndedError");
    assert.equal(error.reason, "forbidden");
    assert.equal(error.message, "the session has ended: forbidden (rtc.channel: the credential does not grant this)");
    assert.deepEqual(error.ended, sim.saw("ended")[0]);
  }
});

test("token() after leave rejects, though the tokens would still be good", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  refresher.leave();
  await assert.rejects(refresher.token("rtc"), EndedError);
});

test("token() of a service that is not in the options rejects with a TypeError", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  await assert.rejects(refresher.token("rtm"), TypeError);
  await assert.rejects(refresher.token("rtx"), TypeError);
});

test("all callers that wait for a token get it", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const all = Promise.all(Array.from({ length: 50 }, () => refresher.token("rtc")));
  await sim.join();
  assert.equal(new Set(await all).size, 1);
});
