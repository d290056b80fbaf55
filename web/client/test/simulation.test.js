// The library and a model of the service, through hours of random faults: lost and half-open connections,
// blocked WebSockets, sleep, throttled timers, changed clocks, SDKs that refuse tokens. The same seed repeats a
// run.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { FakeRtcClient, FakeService, Simulation, hour, minute, second, settle } from "./fakes/index.js";

const runs = 200;
/** The library's own limit for an SDK's answer, in milliseconds. */
const sdkTimeout = 8 * second;

/** Returns a seeded random number generator (mulberry32) of numbers from 0 to 1. */
function chances(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let n = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n;
    return ((n ^ (n >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A fake RTC client that checks each token it gets. */
class Sdk extends FakeRtcClient {
  #began = [];

  /**
   * @param {Simulation} sim
   * @param {(token: string) => void} took called with each token that it has taken
   * @param {() => void} lost called when its token has expired
   */
  constructor(sim, took, lost) {
    super(sim);
    Object.assign(this, { took, lost });
  }

  async consider(token, by, error) {
    const { time } = this.device;
    this.#began = this.#began.filter((began) => began !== null && time - began < sdkTimeout);
    assert.deepEqual(this.#began, [], "never two bundles side by side");
    this.#began.push(time);
    try {
      await super.consider(token, by, error);
      this.took(token);
    } finally {
      this.#began = this.#began.filter((began) => began !== time);
    }
  }

  /** Whether the client is in the call with a valid token. */
  get well() {
    return this.inCall() && this.expiresAt * second > this.device.time;
  }

  expires() {
    this.lost();
    super.expires();
  }
}

/**
 * Joins a call.
 * @param {Simulation} sim
 * @param {{ttl: number, renewBefore: number, latency: number}} settings of the service
 * @param {{credential: () => unknown, lost: () => void}} page lost is called when the SDK's token has expired
 */
function begin(sim, settings, { credential, lost }) {
  const taken = new Set();
  const service = new FakeService(sim, settings, (bundle) => taken.has(bundle));
  const refresher = sim.refresher({ credential });
  const client = new Sdk(sim, (token) => taken.add(token), lost);
  const join = async (token) => {
    await client.join(token);
  };
  bindRtc(refresher, client, { rejoin: join });
  refresher.on("tokens", () => {}); // somebody listens
  const first = refresher.token("rtc");
  void first.then((token) => {
    taken.add(token); // the app gets this token from token(), so the binding does not pass it
    return join(token);
  });
  return { taken, service, refresher, client };
}

/** One call. */
async function call(seed) {
  const chance = chances(seed);
  const pick = (...options) => options[Math.floor(chance() * options.length)];
  const between = (low, high) => low + Math.floor(chance() * (high - low));
  const sim = new Simulation();
  sim.random = chance;
  sim.wallError = pick(0, 0, between(-5 * hour, 5 * hour));
  const [ttl, renewBefore] = pick([300, 45], [600, 60], [1200, 120]);

  const { taken, service, refresher, client } = begin(sim, { ttl, renewBefore, latency: between(5, 400) }, {
    credential: () => pick("c", Promise.resolve("c")),
    lost: () => check("lost its token"),
  });

  // The time since which no fault has kept tokens from the page.
  let goodSince = sim.time;
  let throttled = false;
  const isGood = () => !client.refusal && (service.socketsWork || (service.requestsWork && !throttled && service.sessions.has(refresher.session)));
  const disturbed = () => void (goodSince = sim.time);
  const throttle = (on) => {
    if (on !== throttled) disturbed();
    throttled = on;
    sim.throttle = on ? minute : 0;
  };
  const look = () => isGood() || disturbed();
  function check(what) {
    look();
    const forMs = sim.time - goodSince;
    assert.ok(forMs < (throttled ? 300 : 90) * second, `${what}, though all was well for ${forMs / second} s`);
  }
  const pass = async (ms) => {
    for (let left = ms; left > 0; left -= 4 * second) {
      await sim.pass(Math.min(left, 4 * second));
      look();
      if (!client.well) check("has no good token");
      if (sim.uncaught.length > 0) throw sim.uncaught[0];
    }
  };

  await pass(minute);
  assert.ok(client.well, "it has joined");
  for (const end = sim.time + 25 * minute; sim.time < end; ) {
    switch (pick("up", "up", "cut", "half-open", "blocked", "no http", "dark", "sleep", "throttle", "clock", "refuse", "drain", "overload", "forget", "renew", "online")) {
      case "up":
        Object.assign(service, { socketsWork: true, requestsWork: true });
        throttle(false);
        client.refusal = null;
        break;
      case "cut":
        service.cut({ noticed: true });
        break;
      case "half-open":
        service.cut({ noticed: false });
        disturbed();
        break;
      case "blocked":
        Object.assign(service, { socketsWork: false, requestsWork: true, silent: pick(true, false) });
        service.cut({ noticed: pick(true, false) });
        disturbed();
        break;
      case "no http":
        Object.assign(service, { socketsWork: true, requestsWork: false, silent: pick(true, false) });
        break;
      case "dark":
        Object.assign(service, { socketsWork: false, requestsWork: false, silent: pick(true, false) });
        service.cut({ noticed: pick(true, false) });
        break;
      case "sleep":
        await sim.sleep(between(second, pick(minute, 30 * minute)), { steady: pick(true, false) });
        if (chance() < 0.3) service.cut({ noticed: pick(true, false) });
        if (chance() < 0.6) await sim.wake();
        disturbed();
        break;
      case "throttle":
        throttle(pick(true, false));
        break;
      case "clock":
        sim.wallError = pick(0, between(-5 * hour, 5 * hour));
        break;
      case "refuse":
        client.refusal = pick(null, { code: "UNEXPECTED_RESPONSE", message: "no" });
        break;
      case "drain": {
        const afterMs = between(0, 20 * second);
        service.drain(afterMs, pick(afterMs, between(0, afterMs + 1)));
        disturbed();
        break;
      }
      case "overload":
        service.overloaded = true;
        break;
      case "forget":
        if (chance() < 0.3) service.forget();
        disturbed();
        break;
      case "renew":
        refresher.renew();
        break;
      case "online":
        await sim.wake();
        break;
    }
    client.latency = pick(0, between(1, 3 * second));
    look();
    await pass(between(second, pick(20 * second, 3 * minute)));
  }

  // From here on there are no faults, so the call must recover.
  Object.assign(service, { socketsWork: true, requestsWork: true });
  client.refusal = null;
  throttle(false);
  disturbed();
  await pass(100 * second);
  assert.ok(client.well && refresher.state === "live", "it has recovered");

  // After the end of the session, the library must leave no timer, socket or request behind.
  const { length } = sim.sockets;
  if (chance() < 0.5) service.cut({ noticed: true });
  const { session } = refresher;
  const end = pick("leave", "close");
  refresher[end]();
  await settle();
  sim.assertEmpty();
  client.leave();
  await sim.pass(hour);
  assert.equal(sim.sockets.length, length);
  assert.equal(client.listeners, 0);
  assert.deepEqual(sim.uncaught, []);
  assert.equal(service.sessions.has(session), end === "close", `the service after ${end}()`);
  return { sockets: sim.sockets.length, requests: sim.fetches.length, bundles: taken.size, silences: service.silences };
}

test(`${runs} calls under random faults: no token expires that could have been renewed`, async () => {
  const sum = { sockets: 0, requests: 0, bundles: 0, silences: 0 };
  for (let seed = 1; seed <= runs; seed++) {
    const done = await call(seed).catch((error) => {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
    });
    for (const key of Object.keys(sum)) sum[key] += done[key];
  }
  assert.ok(sum.sockets > 4 * runs && sum.requests > runs && sum.bundles > 4 * runs && sum.silences > runs / 4, `enough has happened: ${JSON.stringify(sum)}`);
});

test("calls with tokens of 30 s survive nodes that stop without closing their connections", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const chance = chances(seed);
    const sim = new Simulation();
    sim.random = chance;
    const lost = () => assert.fail(`seed ${seed}: it lost its token`);
    const { service, refresher, client } = begin(sim, { ttl: 30, renewBefore: 15, latency: 100 }, { credential: () => "c", lost });
    for (let stops = 0; stops < 20; stops++) {
      await sim.pass((20 + 40 * chance()) * second);
      assert.ok(client.well && refresher.state === "live", `seed ${seed}: it goes on`);
      service.cut({ noticed: false }); // the node's clients connect to another node
    }
    refresher.leave();
    client.leave();
    assert.deepEqual(sim.uncaught, []);
    assert.ok(sim.sockets.length >= 20, "it has connected again each time");
  }
});
