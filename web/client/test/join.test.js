// How a session is opened and resumed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { EndedError, Refresher } from "../index.js";
import { FakeRtcClient, Simulation, hour, minute, second, settle } from "./fakes/index.js";

const credential = "eyJhbGciOi.credential.signed";

test("opens one socket at the service's address, with the subprotocol", async (t) => {
  const sim = new Simulation(t);
  sim.refresher({ url: "https://calls.example.com/agora/" });
  await settle();
  assert.deepEqual(sim.sockets.map(({ url, protocols }) => ({ url, protocols })), [
    { url: "wss://calls.example.com/agora/v1/ws", protocols: "refresher.v1" },
  ]);
});

test("takes http, ws and wss for addresses too", async (t) => {
  for (const [url, want] of [
    ["http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/ws"],
    ["ws://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/ws"],
    ["wss://calls.example.com", "wss://calls.example.com/v1/ws"],
  ]) {
    const sim = new Simulation(t);
    sim.refresher({ url });
    await settle();
    assert.equal(sim.socket.url, want);
  }
});

test("the constructor throws a TypeError for options that cannot work", (t) => {
  const sim = new Simulation(t);
  assert.throws(() => sim.refresher({ rtc: undefined }), TypeError);
  for (const url of ["", "calls.example.com", "ftp://calls.example.com", "https://", "https://?x", undefined]) {
    assert.throws(() => sim.refresher({ url }), TypeError, String(url));
  }
  assert.throws(() => new Refresher({ url: "https://calls.example.com", rtm: { userId: "ana" }, platform: { ...sim.platform, WebSocket: undefined } }), TypeError);
  sim.assertEmpty();
});

test("joins as soon as the socket is open, with the identity and a credential string", async (t) => {
  const sim = new Simulation(t);
  sim.refresher({ credential, rtm: { userId: "1001" }, chat: { userId: "ana" }, ttl: 600, tokenFormat: "007-single" });
  await settle();
  assert.deepEqual(sim.socket.sent, []);
  await sim.socket.opens();
  assert.deepEqual(sim.socket.sent, [{
    type: "join", auth: credential, rtc: { channel: "daily", uid: 1001, role: "publisher" }, rtm: { userId: "1001" }, chat: { userId: "ana" }, ttl: 600, tokenFormat: "007-single",
  }]);
});

test("joins without a credential if none is given", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.opens();
  assert.deepEqual(sim.socket.sent, [{ type: "join", rtc: { channel: "daily", uid: 1001, role: "publisher" } }]);
});

test("joins with the credential that a function returns, at once or by a promise", async (t) => {
  for (const fetches of [() => credential, async () => credential]) {
    const sim = new Simulation(t);
    sim.refresher({ credential: fetches });
    await settle();
    await sim.socket.opens();
    assert.equal(sim.socket.sent[0].auth, credential);
  }
});

test("opens no socket before the credential is there", async (t) => {
  const sim = new Simulation(t);
  let hand;
  sim.refresher({ credential: () => new Promise((resolve) => (hand = resolve)) });
  await sim.pass(20 * second);
  assert.equal(sim.sockets.length, 0);
  hand(credential);
  await settle();
  assert.equal(sim.sockets.length, 1);
});

test("calls the credential function for each session that is opened, and not to resume", async (t) => {
  const sim = new Simulation(t);
  let calls = 0;
  sim.refresher({ credential: async () => `${credential}-${++calls}` });
  await sim.join();
  await sim.resume();
  await sim.resume();
  assert.equal(calls, 1);
  await sim.socket.refuses(4404, "unknown_session");
  await sim.nextSocket();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].auth, `${credential}-2`);
});

test("during an outage of the service the credential function is called once", async (t) => {
  const sim = new Simulation(t);
  let calls = 0;
  sim.blocked = true;
  sim.refresher({ credential: () => `${credential}-${++calls}` });
  await sim.pass(hour);
  assert.ok(sim.sockets.length > 100);
  assert.equal(calls, 1);
  sim.blocked = false;
  await sim.nextSocket();
  await sim.socket.opens();
  await sim.socket.refuses(4401, "unauthenticated", "it has expired");
  await sim.nextSocket();
  await sim.join();
  assert.equal(sim.socket.sent[0].auth, `${credential}-2`);
});

test("a credential that cannot be fetched is an error event, and is fetched again after the backoff", async (t) => {
  const sim = new Simulation(t);
  const failure = new Error("the back end is away");
  let calls = 0;
  sim.refresher({
    credential: () => {
      if (++calls === 1) throw failure;
      if (calls === 2) return Promise.reject(failure);
      return credential;
    },
  });
  await settle();
  assert.deepEqual(sim.saw("error"), [failure]);
  assert.deepEqual(sim.saw("lost"), [{ reason: "no credential was fetched", retryInMs: 500 }]);
  await sim.pass(499);
  assert.equal(calls, 1);
  await sim.pass(1);
  assert.equal(calls, 2);
  await sim.pass(1000);
  assert.equal(calls, 3);
  assert.equal(sim.saw("error").length, 2);
  assert.equal((await sim.join()).sent[0].auth, credential);
});

test("a wake does not fetch a credential that is being fetched already", async (t) => {
  for (const late of ["resolve", "reject"]) {
    const sim = new Simulation(t);
    const asked = [];
    const refresher = sim.refresher({ credential: () => new Promise((resolve, reject) => void asked.push({ resolve, reject })) });
    for (let n = 0; n < 5; n++) {
      await sim.pass(2 * second);
      await sim.wake();
    }
    assert.equal(asked.length, 1);
    assert.deepEqual(sim.events, []);
    asked[0][late](credential);
    await settle();
    if (late === "reject") {
      assert.equal(sim.saw("error").length, 1);
      await sim.pass(0.5 * second);
      assert.equal(asked.length, 2);
    } else {
      assert.equal(sim.sockets.length, 1);
      await sim.socket.opens();
      assert.equal(sim.socket.sent[0].auth, credential);
    }
    refresher.leave();
  }
});

test("a credential that arrives after the end is not used", async (t) => {
  for (const late of ["resolve", "reject"]) {
    const sim = new Simulation(t);
    let asked;
    const refresher = sim.refresher({ credential: () => new Promise((resolve, reject) => (asked = { resolve, reject })) });
    await settle();
    refresher.leave();
    asked[late]("late");
    await settle();
    sim.assertEmpty();
    assert.equal(sim.sockets.length, 0);
    assert.equal(sim.events.at(-1).event, "ended");
  }
});

test("a credential that takes over 30 s counts as not fetched", async (t) => {
  const sim = new Simulation(t);
  let calls = 0;
  sim.refresher({ credential: () => (++calls, new Promise(() => {})) });
  await sim.pass(30 * second - 1);
  assert.equal(sim.saw("error").length, 0);
  await sim.pass(1);
  assert.match(sim.saw("error")[0].message, /credential/);
  await sim.pass(500);
  assert.equal(calls, 2);
});

test("resumes with the newest key, and with seq and expiry of the bundle applied last", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { key: "first" });
  const sdk = { renew: async () => {} };
  refresher.bind("rtc", sdk);
  await refresher.token("rtc");
  await sim.pass(10 * minute);
  const applied = sim.seconds() + 3000;
  await socket.says(sim.push({ seq: 2, expiresAt: applied }));
  sdk.renew = () => new Promise(() => {});
  await socket.says(sim.push({ seq: 3 }));
  await sim.resume({ key: "second", seq: 4 });
  assert.deepEqual(sim.socket.sent[0], { type: "resume", session: "session-1", key: "first", seq: 2, expiresAt: applied });
  await sim.resume({ key: "third", seq: 5 });
  assert.equal(sim.socket.sent[0].key, "second");
});

test("a bundle that is applied while the next socket is still opening counts for the resume", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  let accept;
  refresher.bind("rtc", { renew: () => new Promise((resolve) => (accept = resolve)) });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  await socket.closes(1006);
  await sim.pass(1 * second);
  accept();
  await settle();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].seq, 2);
});

test("resumes with seq 0 when nothing was applied yet", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const client = new FakeRtcClient(sim);
  client.connectionState = "CONNECTED"; // the app joins with a token that is not from the library
  client.hangs = true;
  bindRtc(refresher, client);
  const socket = await sim.join();
  await socket.closes(1006);
  await sim.pass(1 * second);
  await sim.socket.opens();
  assert.deepEqual(sim.socket.sent[0], { type: "resume", session: "session-1", key: "key-1", seq: 0, expiresAt: 0 });
});

test("if a join was not answered, the next attempt joins", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.opens();
  await sim.socket.closes(1006);
  await sim.pass(1 * second);
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "join");
});

test("session, expiresAt and now() follow what the service said", async (t) => {
  const sim = new Simulation(t);
  sim.wallError = -7 * hour;
  const refresher = sim.refresher();
  assert.equal(refresher.session, null);
  assert.equal(refresher.expiresAt, 0);
  assert.equal(refresher.state, "connecting");
  assert.equal(refresher.now(), sim.time + sim.wallError, "the device's, until the service says");
  await sim.join({ ttl: 1200 });
  assert.equal(refresher.session, "session-1");
  assert.equal(refresher.expiresAt, sim.seconds() + 1200);
  await sim.pass(minute);
  assert.equal(refresher.now(), sim.time);
});

test("nothing secret is in an address, an event or an error; tokens come from token() alone", async (t) => {
  const sim = new Simulation(t);
  const key = "AQpbFm1Y.secret.key";
  const refresher = sim.refresher({ credential: async () => credential });
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await sim.join({ key });
  const first = await refresher.token("rtc");
  await client.join(first);
  const push = sim.push({ seq: 2 });
  client.refusal = Object.assign(new Error(`bad token: ${push.tokens.rtc.token}`), { code: "INVALID_PARAMS" });
  await sim.socket.says(push);
  client.refusal = null;
  await sim.socket.says(sim.push({ seq: 3, action: "rejoin" }));
  await sim.socket.says("this is not JSON");
  await sim.socket.says({ type: "joined", session: "session-1", key });
  await sim.resume({ seq: 4, key });
  await sim.socket.closes(1006);
  refresher.renew();
  await sim.fetches.at(-1).fails();
  refresher.renew();
  await sim.fetches.at(-1).answers(403, "<html>");
  refresher.renew();
  await sim.fetches.at(-1).answers(410, { error: "session ended: revoked", code: "unknown_session", status: 410, reason: "revoked", accessEndsAt: 1 });
  assert.equal(refresher.state, "ended");
  const late = await refresher.token("rtc").catch((error) => error);
  assert.ok(late instanceof EndedError);

  const shown = JSON.stringify([
    sim.events.map(({ event, detail }) => [event, detail, detail instanceof Error ? detail.message + detail.stack : ""]),
    sim.sockets.map(({ url, protocols }) => [url, protocols]), sim.fetches.map(({ url, body }) => [url, body]),
    late.message, late, Object.keys(refresher),
  ]);
  for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) assert.ok(sim.saw(event).length > 0, event);
  for (const secret of [credential, key, "Bearer", first.slice(0, 20), push.tokens.rtc.token.slice(0, 20)]) {
    assert.ok(!shown.includes(secret), secret);
  }
});
