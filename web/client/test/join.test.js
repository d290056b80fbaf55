// How a session is opened and taken up again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { EndedError, Refresher } from "../index.js";
import { RtcClient, World, hour, minute, second, settle } from "./world.js";

const credential = "eyJhbGciOi.credential.signed";

test("opens one socket at the service's address, with the subprotocol", async (t) => {
  const world = new World(t);
  world.refresher({ url: "https://calls.example.com/agora/" });
  await settle();
  assert.deepEqual(world.sockets.map(({ url, protocols }) => ({ url, protocols })), [
    { url: "wss://calls.example.com/agora/v1/ws", protocols: "refresher.v1" },
  ]);
});

test("takes http, ws and wss for addresses too", async (t) => {
  for (const [url, want] of [
    ["http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/ws"],
    ["ws://127.0.0.1:8080/", "ws://127.0.0.1:8080/v1/ws"],
    ["wss://calls.example.com", "wss://calls.example.com/v1/ws"],
  ]) {
    const world = new World(t);
    world.refresher({ url });
    await settle();
    assert.equal(world.socket.url, want);
  }
});

test("refuses what can't work at once, with a TypeError", (t) => {
  const world = new World(t);
  assert.throws(() => world.refresher({ rtc: undefined }), TypeError);
  for (const url of ["", "calls.example.com", "ftp://calls.example.com", "https://", "https://?x", undefined]) {
    assert.throws(() => world.refresher({ url }), TypeError, String(url));
  }
  assert.throws(() => new Refresher({ url: "https://calls.example.com", rtm: { userId: "ana" }, platform: { ...world.platform, WebSocket: undefined } }), TypeError);
  world.assertEmpty();
});

test("joins as soon as the socket is open, with the identity and a credential string", async (t) => {
  const world = new World(t);
  world.refresher({ credential, rtm: { userId: "1001" }, chat: { userId: "ana" }, ttl: 600, tokenFormat: "007-single" });
  await settle();
  assert.deepEqual(world.socket.sent, []);
  await world.socket.opens();
  assert.deepEqual(world.socket.sent, [{
    type: "join", auth: credential, rtc: { channel: "daily", uid: 1001, role: "publisher" }, rtm: { userId: "1001" }, chat: { userId: "ana" }, ttl: 600, tokenFormat: "007-single",
  }]);
});

test("joins without a credential where the service wants none", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.opens();
  assert.deepEqual(world.socket.sent, [{ type: "join", rtc: { channel: "daily", uid: 1001, role: "publisher" } }]);
});

test("joins with what a function answers, at once or later", async (t) => {
  for (const fetches of [() => credential, async () => credential]) {
    const world = new World(t);
    world.refresher({ credential: fetches });
    await settle();
    await world.socket.opens();
    assert.equal(world.socket.sent[0].auth, credential);
  }
});

test("opens no socket before the credential is there", async (t) => {
  const world = new World(t);
  let hand;
  world.refresher({ credential: () => new Promise((resolve) => (hand = resolve)) });
  await world.pass(20 * second);
  assert.equal(world.sockets.length, 0);
  hand(credential);
  await settle();
  assert.equal(world.sockets.length, 1);
});

test("asks for a credential anew for each session, and for none to resume", async (t) => {
  const world = new World(t);
  let calls = 0;
  world.refresher({ credential: async () => `${credential}-${++calls}` });
  await world.join();
  await world.resume();
  await world.resume();
  assert.equal(calls, 1);
  await world.socket.refuses(4404, "unknown_session");
  await world.nextSocket();
  await world.socket.opens();
  assert.equal(world.socket.sent[0].auth, `${credential}-2`);
});

test("an outage of the service is none of the app's back end: one credential serves until it is refused", async (t) => {
  const world = new World(t);
  let calls = 0;
  world.blocked = true;
  world.refresher({ credential: () => `${credential}-${++calls}` });
  await world.pass(hour);
  assert.ok(world.sockets.length > 100);
  assert.equal(calls, 1);
  world.blocked = false;
  await world.nextSocket();
  await world.socket.opens();
  await world.socket.refuses(4401, "unauthenticated", "it has expired");
  await world.nextSocket();
  await world.join();
  assert.equal(world.socket.sent[0].auth, `${credential}-2`);
});

test("a credential that can't be fetched is an error event, and is tried again after the backoff", async (t) => {
  const world = new World(t);
  const failure = new Error("the back end is away");
  let calls = 0;
  world.refresher({
    credential: () => {
      if (++calls === 1) throw failure;
      if (calls === 2) return Promise.reject(failure);
      return credential;
    },
  });
  await settle();
  assert.deepEqual(world.saw("error"), [failure]);
  assert.deepEqual(world.saw("lost"), [{ reason: "not connected", retryInMs: 500 }]);
  await world.pass(499);
  assert.equal(calls, 1);
  await world.pass(1);
  assert.equal(calls, 2);
  await world.pass(1000);
  assert.equal(calls, 3);
  assert.equal(world.saw("error").length, 2);
  assert.equal((await world.join()).sent[0].auth, credential);
});

test("a credential that is being fetched is not fetched again by a wake, and serves the attempt that is there when it comes", async (t) => {
  for (const late of ["resolve", "reject"]) {
    const world = new World(t);
    const asked = [];
    const refresher = world.refresher({ credential: () => new Promise((resolve, reject) => void asked.push({ resolve, reject })) });
    for (let n = 0; n < 5; n++) {
      await world.pass(2 * second);
      await world.wake();
    }
    assert.equal(asked.length, 1);
    assert.deepEqual(world.events, []);
    asked[0][late](credential);
    await settle();
    if (late === "reject") {
      assert.equal(world.saw("error").length, 1);
      await world.pass(0.5 * second);
      assert.equal(asked.length, 2);
    } else {
      assert.equal(world.sockets.length, 1);
      await world.socket.opens();
      assert.equal(world.socket.sent[0].auth, credential);
    }
    refresher.leave();
  }
});

test("and none is used after the end", async (t) => {
  for (const late of ["resolve", "reject"]) {
    const world = new World(t);
    let asked;
    const refresher = world.refresher({ credential: () => new Promise((resolve, reject) => (asked = { resolve, reject })) });
    await settle();
    refresher.leave();
    asked[late]("late");
    await settle();
    world.assertEmpty();
    assert.equal(world.sockets.length, 0);
    assert.equal(world.events.at(-1).event, "ended");
  }
});

test("a credential that takes over 30 s counts as not fetched", async (t) => {
  const world = new World(t);
  let calls = 0;
  world.refresher({ credential: () => (++calls, new Promise(() => {})) });
  await world.pass(30 * second - 1);
  assert.equal(world.saw("error").length, 0);
  await world.pass(1);
  assert.match(world.saw("error")[0].message, /credential/);
  await world.pass(500);
  assert.equal(calls, 2);
});

test("resumes with the newest key, and with seq and expiry of the bundle applied last", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { key: "first" });
  const sdk = { renew: async () => {} };
  refresher.bind("rtc", sdk);
  await refresher.token("rtc");
  await world.pass(10 * minute);
  const applied = world.seconds() + 3000;
  await socket.says(world.push({ seq: 2, expiresAt: applied }));
  sdk.renew = () => new Promise(() => {});
  await socket.says(world.push({ seq: 3 }));
  await world.resume({ key: "second", seq: 4 });
  assert.deepEqual(world.socket.sent[0], { type: "resume", session: "session-1", key: "first", seq: 2, expiresAt: applied });
  await world.resume({ key: "third", seq: 5 });
  assert.equal(world.socket.sent[0].key, "second");
});

test("a bundle that is applied while the next socket is still opening counts for the resume", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  let accept;
  refresher.bind("rtc", { renew: () => new Promise((resolve) => (accept = resolve)) });
  await refresher.token("rtc");
  await socket.says(world.push({ seq: 2 }));
  await socket.closes(1006);
  await world.pass(1 * second);
  accept();
  await settle();
  await world.socket.opens();
  assert.equal(world.socket.sent[0].seq, 2);
});

test("resumes with seq 0 when nothing was applied yet", async (t) => {
  const world = new World(t);
  const refresher = world.refresher();
  const client = new RtcClient(world);
  client.connectionState = "CONNECTED"; // with a token of its own
  client.hangs = true;
  bindRtc(refresher, client);
  const socket = await world.join();
  await socket.closes(1006);
  await world.pass(1 * second);
  await world.socket.opens();
  assert.deepEqual(world.socket.sent[0], { type: "resume", session: "session-1", key: "key-1", seq: 0, expiresAt: 0 });
});

test("no answer to a join is taken for no session: the next attempt joins", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.opens();
  await world.socket.closes(1006);
  await world.pass(1 * second);
  await world.socket.opens();
  assert.equal(world.socket.sent[0].type, "join");
});

test("tells the session and its expiry, and the service's time", async (t) => {
  const world = new World(t);
  world.wallError = -7 * hour;
  const refresher = world.refresher();
  assert.equal(refresher.session, null);
  assert.equal(refresher.expiresAt, 0);
  assert.equal(refresher.state, "connecting");
  assert.equal(refresher.now(), world.time + world.wallError, "the device's, until the service says");
  await world.join({ ttl: 1200 });
  assert.equal(refresher.session, "session-1");
  assert.equal(refresher.expiresAt, world.seconds() + 1200);
  await world.pass(minute);
  assert.equal(refresher.now(), world.time);
});

test("nothing secret is in an address, an event or an error; tokens come from token() alone", async (t) => {
  const world = new World(t);
  const key = "AQpbFm1Y.secret.key";
  const refresher = world.refresher({ credential: async () => credential });
  const client = new RtcClient(world);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await world.join({ key });
  const first = await refresher.token("rtc");
  await client.join(first);
  const push = world.push({ seq: 2 });
  client.refusal = Object.assign(new Error(`bad token: ${push.tokens.rtc.token}`), { code: "INVALID_PARAMS" });
  await world.socket.says(push);
  client.refusal = null;
  await world.socket.says(world.push({ seq: 3, action: "rejoin" }));
  await world.socket.says("this is not JSON");
  await world.socket.says({ type: "joined", session: "session-1", key });
  await world.resume({ seq: 4, key });
  await world.socket.closes(1006);
  refresher.renew();
  await world.fetches.at(-1).fails();
  refresher.renew();
  await world.fetches.at(-1).answers(403, "<html>");
  refresher.renew();
  await world.fetches.at(-1).answers(410, { error: "session ended: revoked", code: "unknown_session", status: 410, reason: "revoked", accessEndsAt: 1 });
  assert.equal(refresher.state, "ended");
  const late = await refresher.token("rtc").catch((error) => error);
  assert.ok(late instanceof EndedError);

  const shown = JSON.stringify([
    world.events.map(({ event, detail }) => [event, detail, detail instanceof Error ? detail.message + detail.stack : ""]),
    world.sockets.map(({ url, protocols }) => [url, protocols]), world.fetches.map(({ url, body }) => [url, body]),
    late.message, late, Object.keys(refresher),
  ]);
  for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) assert.ok(world.saw(event).length > 0, event);
  for (const secret of [credential, key, "Bearer", first.slice(0, 20), push.tokens.rtc.token.slice(0, 20)]) {
    assert.ok(!shown.includes(secret), secret);
  }
});
