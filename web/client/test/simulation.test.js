// The library against a small model of the service, for hours of bad luck: cuts,
// half-open connections, blocked WebSockets, sleep, throttled timers, clocks that
// are set, SDKs that refuse. Each run is made from its seed alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { FakeRtcClient, Simulation, hour, minute, second, settle, token } from "./fakes/index.js";

const runs = 200;
const ackTimeout = 5 * second;
const longestHeartbeat = 50 * second;
const patience = 8 * second; // of the library with an SDK: after that it counts as hanging

/** A generator of chance (mulberry32): from 0 to 1. */
function chances(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let n = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    n = (n + Math.imul(n ^ (n >>> 7), 61 | n)) ^ n;
    return ((n ^ (n >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The service: sessions, bundles, keys and deadlines as docs/protocol.md has them. */
class Service {
  socketsWork = true;
  requestsWork = true;
  /** What does not work is silent, rather than refused. */
  silent = false;
  /** The next join or resume is sent away. */
  overloaded = false;
  sessions = new Map();
  /** How many it has closed that answered nothing. */
  silences = 0;
  latency;
  #sim;
  #lifetime;
  #took;
  #links = new Set();

  /**
   * @param {Simulation} sim
   * @param {{ttl: number, renewBefore: number, latency: number}} settings seconds, and milliseconds
   * @param {(token: string) => boolean} took whether the page may say that it has applied a token
   */
  constructor(sim, { latency, ...lifetime }, took) {
    this.#sim = sim;
    this.#lifetime = lifetime;
    this.#took = took;
    this.latency = latency;
    sim.service = this;
  }

  /** The page opens a socket. */
  connects(socket) {
    const link = { socket, dead: false, messages: 50, countedAt: this.#sim.time };
    socket.answersPings = false;
    this.#later(() => {
      if (socket.readyState !== 0) return;
      if (!this.socketsWork) return this.silent ? undefined : void socket.closes(1006);
      this.#links.add(link);
      this.#watch(link, this.#sim.time);
      socket.heard = (message) => this.#later(() => this.#hears(link, message), true);
      void socket.opens();
    });
  }

  /** The page asks over HTTP. */
  asks(request) {
    this.#later(() => {
      if (!this.requestsWork) return this.silent ? undefined : void request.fails();
      const session = this.sessions.get(/sessions\/([^/]+)\/renew$/.exec(request.url)[1]);
      const epoch = Number(request.headers.authorization.split("-").at(-1));
      const answer = (status, body) => this.#later(() => request.pending && void request.answers(status, body));
      if (!session) return answer(404, { error: "join afresh", code: "unknown_session", status: 404 });
      if (epoch < session.proven) return answer(410, { error: "superseded", code: "unknown_session", status: 410, reason: "superseded" });
      session.proven = epoch;
      this.#confirm(session, request.body.seq);
      if (!this.#isFresh(session)) this.#mint(session, "renew");
      return answer(200, this.#push(session));
    }, true);
  }

  /** Existing connections are lost, noticed by this page or not. */
  cut({ noticed }) {
    for (const link of this.#links) {
      link.dead = true;
      if (noticed && link.socket.readyState < 2) void link.socket.closes(1006);
    }
    this.#links.clear();
  }

  /** The node stops: its clients are to come again after a span, and it goes before or after that. */
  drain(afterMs, goesAfter) {
    for (const link of this.#links) {
      this.#say(link, { type: "reconnect", afterMs, reason: "drain" });
      this.#sim.at(this.#sim.time + goesAfter, () => this.#close(link, 1012), true);
    }
  }

  /** Nobody knows any session any more. */
  forget() {
    this.sessions.clear();
    for (const link of this.#links) this.#close(link, 1012);
  }

  /** Pings a client that is silent, which its browser answers for it unless it sleeps; who answers nothing for two of the longest heartbeats is closed. */
  #watch(link, heardAt) {
    this.#sim.at(this.#sim.time + longestHeartbeat, () => {
      if (!this.#links.has(link)) return;
      if (!link.dead && !this.#sim.asleep) heardAt = this.#sim.time;
      if (this.#sim.time - heardAt < 2 * longestHeartbeat) return this.#watch(link, heardAt);
      this.silences++;
      this.#close(link, 4001);
    }, true);
  }

  #later(run, elsewhere = false) {
    this.#sim.at(this.#sim.time + this.latency, run, elsewhere);
  }

  #say(link, message) {
    if (!link.dead) this.#later(() => !link.dead && link.socket.readyState === 1 && void link.socket.says({ ...message, now: message.now }));
  }

  #close(link, code) {
    if (!this.#links.delete(link)) return;
    this.#later(() => link.socket.readyState < 2 && !link.dead && void link.socket.closes(code));
    if (link.session?.link === link) link.session.link = null;
  }

  #hears(link, message) {
    if (link.dead || !this.#links.has(link)) return;
    link.messages = Math.min(50, link.messages + ((this.#sim.time - link.countedAt) / second) * 10) - 1;
    link.countedAt = this.#sim.time;
    assert.ok(link.messages >= 0, "not too many messages");
    const { session } = link;
    if (!session) return this.#greets(link, message);
    session.silent = 0;
    switch (message.type) {
      case "ping":
        return this.#say(link, { type: "pong", now: this.#sim.time });
      case "ack":
        assert.ok(message.seq <= session.seq, "an ack of what was sent");
        assert.ok(this.#took(session.bundles.get(message.seq)), `the SDK took ${message.seq}, which is acked`);
        if (message.seq >= link.firstSeq) session.proven = link.epoch;
        if (message.seq === session.seq) this.#settle(session);
        return this.#schedule(session);
      case "nack":
        assert.ok(message.seq <= session.seq, "a nack of what was sent");
        if (message.seq < session.seq || session.pending?.refused) return undefined;
        session.pending = { ...session.pending, refused: true, retryAt: this.#sim.time + (session.nacks++ ? ackTimeout : 0) };
        return this.#schedule(session);
      case "renew":
        if (!this.#isFresh(session)) this.#mint(session, "renew");
        this.#say(link, this.#push(session));
        return this.#schedule(session);
      case "leave":
        this.sessions.delete(session.id);
        return this.#close(link, 1000);
      default:
        return assert.fail(`${message.type} is no message for a session`);
    }
  }

  #greets(link, message) {
    assert.ok(message.type === "join" || message.type === "resume", `${message.type} is no first message`);
    if (this.overloaded) {
      this.overloaded = false;
      this.#say(link, { type: "reconnect", afterMs: 3000, reason: "overload" });
      return this.#close(link, 1013);
    }
    const resumed = message.type === "resume";
    let session = resumed ? this.sessions.get(message.session) : null;
    if (resumed && !session) {
      this.#say(link, { type: "error", code: "unknown_session", message: "join afresh" });
      return this.#close(link, 4404);
    }
    if (!session) {
      session = { id: `s${this.#sim.time}x${this.sessions.size}`, seq: 0, epoch: 0, proven: 0, bundles: new Map(), nacks: 0, silent: 0, held: 0 };
      this.sessions.set(session.id, session);
    } else {
      const epoch = Number(message.key.split("-").at(-1));
      assert.ok(epoch >= session.proven, "it resumes with a key that is good");
      session.proven = epoch;
      this.#confirm(session, message.seq);
      if (session.link) this.#close(session.link, 4409);
    }
    Object.assign(link, { session, epoch: ++session.epoch, firstSeq: session.seq + 1 });
    session.link = link;
    this.#mint(session, "resume");
    if (!resumed) this.#settle(session);
    const { type, ...bundle } = this.#push(session);
    const heartbeat = Math.floor(Math.min(longestHeartbeat / second, this.#lifetime.renewBefore / 6));
    this.#say(link, { type: "joined", session: session.id, key: `key-${session.id}-${session.epoch}`, resumed, heartbeat, ...this.#lifetime, ...bundle });
    return this.#schedule(session);
  }

  /** The page says, while it comes back, what it has applied. */
  #confirm(session, seq) {
    if (seq) assert.ok(this.#took(session.bundles.get(seq)), `the SDK took ${seq}, which is said to be applied`);
    if (session.pending && seq >= session.seq) this.#settle(session);
  }

  #settle(session) {
    session.held = session.expiresAt;
    session.pending = null;
    session.nacks = 0;
  }

  #isFresh({ pending }) {
    return pending && !pending.refused && this.#sim.time - pending.sentAt < ackTimeout;
  }

  #mint(session, cause) {
    const expiresAt = Math.max(this.#sim.seconds() + this.#lifetime.ttl, session.expiresAt ?? 0);
    Object.assign(session, { seq: session.seq + 1, expiresAt });
    session.bundles.set(session.seq, token("rtc", 1001, expiresAt, `${session.id}:${session.seq}`));
    session.pending = { cause, rejoin: session.held > 0 && session.held * second <= this.#sim.time, attempt: 0, refused: false };
  }

  /** The newest bundle as a push, which wants an answer. */
  #push(session) {
    const { pending } = session;
    if (pending) Object.assign(pending, { attempt: pending.attempt + 1, sentAt: this.#sim.time, retryAt: this.#sim.time + ackTimeout });
    session.silent++;
    const rejoin = pending?.rejoin ?? false;
    return {
      type: `token-privilege-${rejoin ? "did" : "will"}-expire`, seq: session.seq, previousExpiresAt: session.held, action: rejoin ? "rejoin" : "renew",
      tokens: { rtc: { token: session.bundles.get(session.seq), expiresAt: session.expiresAt } },
      attempt: pending?.attempt ?? 1, cause: pending?.cause ?? "join", now: this.#sim.time,
    };
  }

  /** Looks at a session again when it is time. */
  #schedule(session) {
    const { pending } = session;
    const due = pending ? pending.retryAt : (session.expiresAt - 1.3 * this.#lifetime.renewBefore) * second;
    const turns = pending && !pending.rejoin ? session.held * second : Infinity;
    const turn = (session.turn = {});
    this.#sim.at(Math.max(this.#sim.time, Math.min(due, turns)), () => session.turn === turn && this.#acts(session), true);
  }

  #acts(session) {
    const { link, pending } = session;
    if (!link || !this.#links.has(link)) return;
    if (!pending) this.#mint(session, "schedule");
    else if (pending.refused) this.#mint(session, "nack");
    else if (!pending.rejoin && session.held * second <= this.#sim.time) this.#mint(session, pending.cause);
    else if (session.silent >= 2) return this.#close(link, 4001);
    this.#say(link, this.#push(session));
    this.#schedule(session);
  }
}

/** An SDK's client that watches over what it is given. */
class Sdk extends FakeRtcClient {
  #began = [];

  /**
   * @param {Simulation} sim
   * @param {(token: string) => void} took is told of each token that it has accepted
   * @param {() => void} lost is told when it is without
   */
  constructor(sim, took, lost) {
    super(sim);
    Object.assign(this, { took, lost });
  }

  async consider(token, by, error) {
    const { time } = this.device;
    this.#began = this.#began.filter((began) => began !== null && time - began < patience);
    assert.deepEqual(this.#began, [], "never two bundles side by side");
    this.#began.push(time);
    try {
      await super.consider(token, by, error);
      this.took(token);
    } finally {
      this.#began = this.#began.filter((began) => began !== time);
    }
  }

  /** Whether it is in the call, with a token that is good. */
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
  const service = new Service(sim, settings, (bundle) => taken.has(bundle));
  const refresher = sim.refresher({ credential });
  const client = new Sdk(sim, (token) => taken.add(token), lost);
  const join = async (token) => {
    await client.join(token);
  };
  bindRtc(refresher, client, { rejoin: join });
  refresher.on("tokens", () => {}); // somebody listens
  const first = refresher.token("rtc");
  void first.then((token) => {
    taken.add(token); // what an app is joining with needs no other word
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

  // For how long all has been well enough for tokens to come through.
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

  // When all is well again, so is the call.
  Object.assign(service, { socketsWork: true, requestsWork: true });
  client.refusal = null;
  throttle(false);
  disturbed();
  await pass(100 * second);
  assert.ok(client.well && refresher.state === "live", "it has recovered");

  // And after the end nothing is left.
  const { length } = sim.sockets;
  if (chance() < 0.5) service.cut({ noticed: true });
  refresher[pick("leave", "close")]();
  await settle();
  sim.assertEmpty();
  client.leave();
  await sim.pass(hour);
  assert.equal(sim.sockets.length, length);
  assert.equal(client.listeners, 0);
  return { sockets: sim.sockets.length, requests: sim.fetches.length, bundles: taken.size, silences: service.silences };
}

test(`${runs} calls under bad luck: no token runs out that could have been renewed`, async () => {
  const sum = { sockets: 0, requests: 0, bundles: 0, silences: 0 };
  for (let seed = 1; seed <= runs; seed++) {
    const done = await call(seed).catch((error) => {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
    });
    for (const key of Object.keys(sum)) sum[key] += done[key];
  }
  assert.ok(sum.sockets > 4 * runs && sum.requests > runs && sum.bundles > 4 * runs && sum.silences > runs / 4, `enough has happened: ${JSON.stringify(sum)}`);
});

test("nodes that stop without a word cost calls with tokens of 30 s nothing", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const chance = chances(seed);
    const sim = new Simulation();
    sim.random = chance;
    const lost = () => assert.fail(`seed ${seed}: it lost its token`);
    const { service, refresher, client } = begin(sim, { ttl: 30, renewBefore: 15, latency: 100 }, { credential: () => "c", lost });
    for (let stops = 0; stops < 20; stops++) {
      await sim.pass((20 + 40 * chance()) * second);
      assert.ok(client.well && refresher.state === "live", `seed ${seed}: it goes on`);
      service.cut({ noticed: false }); // its clients find another node
    }
    refresher.leave();
    client.leave();
    assert.deepEqual(sim.uncaught, []);
    assert.ok(sim.sockets.length >= 20, "it has connected again each time");
  }
});
