// Renewal over HTTP, while there is no connection.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { FakeRtcClient, Simulation, hour, minute, second, settle } from "./fakes/index.js";

/** Opens a live call, and breaks its connection. Each new socket fails at once. */
async function away(sim, joined = {}, options = {}) {
  const { refresher, socket } = await sim.live(options, { ttl: 600, renewBefore: 50, ...joined });
  await block(sim, socket);
  return { refresher };
}

async function block(sim, socket) {
  sim.blocked = true;
  await socket.closes(1006);
}

/** Asserts that the request renews the session, and reports the newest bundle that the SDKs accepted. */
function assertAsks(request, { session = "session-1", key = "key-1", seq = 1, expiresAt }) {
  assert.equal(request.url, `https://calls.example.com/v1/sessions/${session}/renew`);
  assert.equal(request.method, "POST");
  assert.deepEqual(request.headers, { authorization: `Bearer ${key}`, "content-type": "application/json" });
  assert.deepEqual(request.body, { seq, expiresAt });
}

test("while away, requests tokens when 0.8 of renewBefore is left", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim);
  const { expiresAt } = refresher;
  await sim.pass(560 * second - 1);
  assert.equal(sim.fetches.length, 0);
  await sim.pass(1);
  assert.equal(sim.fetches.length, 1);
  assertAsks(sim.fetches[0], { expiresAt });
});

test("delivers the answer's tokens, and the next resume has their seq", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  await block(sim, socket);
  await sim.pass(560 * second);
  const push = sim.push({ seq: 2, cause: "renew", ttl: 600 });
  await sim.fetches[0].answers(200, push);
  assert.equal(client.token, push.tokens.rtc.token);
  assert.equal(refresher.expiresAt, push.tokens.rtc.expiresAt);
  const { seq, via, cause } = sim.saw("renewed").at(-1);
  assert.deepEqual({ seq, via, cause }, { seq: 2, via: "http", cause: "renew" });
  await sim.pass(559 * second);
  assert.equal(sim.fetches.length, 1);
  await sim.pass(1 * second);
  assertAsks(sim.fetches[1], { seq: 2, expiresAt: push.tokens.rtc.expiresAt });
  sim.blocked = false;
  await sim.nextSocket();
  await sim.socket.opens();
  assert.deepEqual(sim.socket.sent[0], { type: "resume", session: "session-1", key: "key-1", seq: 2, expiresAt: push.tokens.rtc.expiresAt });
});

test("an answer with the action rejoin calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await client.join(await refresher.token("rtc"));
  client.connectionState = "DISCONNECTED"; // the SDK left the call without emitting an event
  await block(sim, socket);
  await sim.pass(560 * second);
  await sim.fetches[0].answers(200, sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(client.taken.map(({ by }) => by), ["join", "join"]);
});

test("keeps trying the WebSocket meanwhile", async (t) => {
  const sim = new Simulation(t);
  await away(sim);
  await sim.pass(560 * second);
  const before = sim.sockets.length;
  await sim.fetches[0].answers(200, sim.push({ seq: 2 }));
  await sim.pass(5 * minute);
  assert.ok(sim.sockets.length > before + 10);
});

test("if the service answers pings, but not renew, the client requests tokens over HTTP after 8 s, and again", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.pass(568 * second - 1);
  assert.equal(sim.fetches.length, 0);
  await sim.pass(1);
  assert.equal(sim.fetches.length, 1);
  await sim.fetches[0].fails();
  await sim.pass(1 * second);
  assert.equal(sim.fetches.length, 2);
  const push = sim.push({ seq: 2, ttl: 600 });
  await sim.fetches[1].answers(200, push);
  assert.equal(refresher.expiresAt, push.tokens.rtc.expiresAt);
  assert.deepEqual(socket.take(), [{ type: "renew" }, { type: "ack", seq: 2 }]);
  await sim.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  assert.equal(sim.fetches.length, 2);
});

test("sends one renew when a push is overdue on a live connection", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.pass(560 * second - 1);
  assert.deepEqual(socket.take(), []);
  await sim.pass(1);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await sim.pass(7 * second);
  assert.deepEqual(socket.take(), []);
  await socket.says(sim.push({ seq: 2, ttl: 600 }));
  await sim.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "renew" }]);
});

test("makes no request before the session exists", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  await settle();
  await sim.socket.closes(1006);
  refresher.renew();
  sim.blocked = true;
  await sim.pass(hour);
  assert.equal(sim.fetches.length, 0);
});

test("makes no request once it is live again", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.pass(550 * second);
  await socket.closes(1006);
  await sim.nextSocket();
  await sim.join({ seq: 2, ttl: 600, renewBefore: 50 });
  await sim.pass(5 * minute);
  assert.equal(sim.fetches.length, 0);
});

test("renew() while away asks at once, and one request at a time", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim);
  refresher.renew();
  refresher.renew();
  await settle();
  assert.equal(sim.fetches.length, 1);
  await sim.fetches[0].answers(200, sim.push({ seq: 2 }));
  refresher.renew();
  assert.equal(sim.fetches.length, 2);
});

test("a session id with special characters is escaped in the path", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim, { session: "a/../b?c#d" });
  refresher.renew();
  assert.equal(sim.fetches[0].url, "https://calls.example.com/v1/sessions/a%2F..%2Fb%3Fc%23d/renew");
});

test("no answer in 8 s: the request is aborted, and tried again", async (t) => {
  const sim = new Simulation(t);
  await away(sim);
  await sim.pass(560 * second);
  await sim.pass(8 * second - 1);
  assert.equal(sim.fetches[0].pending, true);
  await sim.pass(1);
  assert.equal(sim.fetches[0].pending, false);
  assert.match(sim.saw("error").at(-1).message, /HTTP/);
  await sim.pass(0.5 * second);
  assert.equal(sim.fetches.length, 2);
});

test("backs off like the connection while there is no answer", async (t) => {
  const sim = new Simulation(t);
  await away(sim, { ttl: 3600, renewBefore: 300 });
  await sim.pass(3360 * second);
  const waits = [];
  for (let n = 0; n < 8; n++) {
    await sim.fetches.at(-1).fails();
    const [failed, before] = [sim.time, sim.fetches.length];
    while (sim.fetches.length === before) await sim.pass(100);
    waits.push(sim.time - failed);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

test("counts failures from 1 again after tokens that were applied", async (t) => {
  const sim = new Simulation(t);
  await away(sim, { ttl: 3600, renewBefore: 300 });
  await sim.pass(3360 * second);
  for (let n = 0; n < 4; n++) {
    const before = sim.fetches.length;
    await sim.fetches.at(-1).fails();
    while (sim.fetches.length === before) await sim.pass(100);
  }
  await sim.fetches.at(-1).answers(200, sim.push({ seq: 2, ttl: 3600 }));
  await sim.pass(3360 * second);
  await sim.fetches.at(-1).fails();
  const before = sim.fetches.length;
  await sim.pass(500);
  assert.equal(sim.fetches.length, before + 1);
});

test("after 429 and 503, no request is made before Retry-After", async (t) => {
  for (const status of [429, 503]) {
    const sim = new Simulation(t);
    await away(sim, { ttl: 3600, renewBefore: 300 });
    await sim.pass(3360 * second);
    await sim.fetches[0].answers(status, { error: "not now", code: "unavailable", status }, { "retry-after": "60" });
    assert.ok(sim.sockets.length > 3, "attempts at a connection fail meanwhile");
    await sim.pass(60 * second - 1);
    await sim.wake();
    assert.equal(sim.fetches.length, 1, String(status));
    await sim.pass(1);
    assert.equal(sim.fetches.length, 2);
  }
});

test("without a usable Retry-After, the backoff counts", async (t) => {
  for (const [status, headers] of [[500, {}], [503, { "retry-after": "soon" }], [503, { "retry-after": "-5" }], [502, { "retry-after": "0" }]]) {
    const sim = new Simulation(t);
    await away(sim);
    await sim.pass(560 * second);
    await sim.fetches[0].answers(status, "<html>", headers);
    assert.deepEqual(sim.saw("error"), []);
    await sim.pass(499);
    assert.equal(sim.fetches.length, 1);
    await sim.pass(1);
    assert.equal(sim.fetches.length, 2);
  }
});

test("a Retry-After ends when the connection is live", async (t) => {
  const sim = new Simulation(t);
  await away(sim);
  await sim.pass(560 * second);
  await sim.fetches[0].answers(503, {}, { "retry-after": "9999" });
  sim.blocked = false;
  await sim.nextSocket();
  await sim.join({ seq: 2, ttl: 600, renewBefore: 50 });
  await block(sim, sim.socket);
  await sim.pass(560 * second);
  assert.equal(sim.fetches.length, 2);
});

test("404 opens another session", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim);
  await sim.pass(560 * second);
  await sim.fetches[0].answers(404, { error: "join afresh", code: "unknown_session", status: 404 });
  assert.equal(refresher.session, null);
  assert.equal(refresher.state, "away");
  sim.blocked = false;
  await sim.nextSocket();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "join");
  await sim.pass(minute);
  assert.equal(sim.fetches.length, 1);
});

test("404 during a resume replaces that attempt by a join", async (t) => {
  for (const opens of [false, true]) {
    const sim = new Simulation(t);
    const { refresher } = await sim.live();
    await sim.socket.closes(1006);
    refresher.renew();
    const socket = await sim.nextSocket();
    if (opens) await socket.opens();
    await sim.fetches[0].answers(404, { error: "join afresh", code: "unknown_session", status: 404 });
    assert.equal(socket.readyState, 2);
    await sim.pass(0);
    await sim.socket.opens();
    assert.deepEqual(sim.socket.sent.map(({ type }) => type), ["join"]);
  }
});

test("404 over HTTP while the connection is live but unanswered: the state is away until the next connection has joined", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  // The push is overdue now, and the client has requested it on the connection.
  await sim.pass(refresher.expiresAt * second - sim.time - 239 * second);
  await sim.pass(9 * second); // in vain
  await sim.fetches[0].answers(404, { error: "join afresh", code: "unknown_session", status: 404 });
  assert.equal(socket.readyState, 2);
  assert.equal(refresher.state, "away");
  assert.deepEqual(sim.saw("lost"), [{ reason: "unknown_session", retryInMs: 0 }]);
  await sim.pass(0);
  await sim.socket.opens();
  assert.deepEqual(sim.socket.sent.map(({ type }) => type), ["join"]);
});

test("410 ends the session with the service's reason", async (t) => {
  for (const reason of ["revoked", "denied", "superseded", "left"]) {
    const sim = new Simulation(t);
    const { refresher } = await away(sim);
    await sim.pass(560 * second);
    await sim.fetches[0].answers(410, { error: `session ended: ${reason}`, code: "unknown_session", status: 410, reason, accessEndsAt: 77 });
    assert.equal(refresher.state, "ended");
    assert.deepEqual(sim.saw("ended"), [{ reason, code: 410, message: `session ended: ${reason}`, accessEndsAt: 77 }]);
    sim.assertEmpty();
  }
});

test("410 with \"expired\" opens another session", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim);
  await sim.pass(560 * second);
  await sim.fetches[0].answers(410, { error: "session ended: expired", code: "unknown_session", status: 410, reason: "expired", accessEndsAt: 77 });
  assert.equal(refresher.state, "away");
  assert.equal(refresher.session, null);
});

test("the refusal of a key that was replaced meanwhile is ignored", async (t) => {
  for (const [status, reason] of [[410, "superseded"], [404, undefined]]) {
    const sim = new Simulation(t);
    const { refresher } = await away(sim);
    refresher.renew();
    sim.blocked = false;
    await sim.nextSocket();
    await sim.join({ seq: 2, key: "newer" });
    await sim.fetches[0].answers(status, { error: "no", code: "unknown_session", status, reason });
    assert.equal(refresher.state, "live");
    await sim.resume({ seq: 3 });
    assert.equal(sim.socket.sent[0].key, "newer");
  }
});

test("tokens of a session that was replaced meanwhile are ignored", async (t) => {
  for (const joinsFirst of [true, false]) {
    const sim = new Simulation(t);
    const { refresher } = await away(sim);
    refresher.renew();
    sim.blocked = false;
    await sim.nextSocket();
    await sim.socket.opens();
    await sim.socket.refuses(4404, "unknown_session");
    const errors = sim.saw("error").length;
    if (joinsFirst) {
      await sim.nextSocket();
      await sim.join({ session: "session-2" });
    }
    const { expiresAt } = refresher;
    await sim.fetches[0].answers(200, sim.push({ seq: 9, ttl: 9000 }));
    assert.equal(refresher.expiresAt, expiresAt);
    assert.equal(sim.saw("error").length, errors);
  }
});

test("an answer that is not the service's ends nothing: it is an error event, and the request is repeated", async (t) => {
  for (const [status, body] of [
    [400, { error: "?", code: "bad_request", status: 400 }], [401, {}], [403, "<html>blocked</html>"], [404, "<html>not found</html>"], [404, { message: "no route" }],
    [407, ""], [410, "gone"], [410, null], [204, ""], [302, ""], [200, "<html>sign in to the hotel's network</html>"], [200, null], [200, []], [200, {}], [200, { seq: 2, tokens: {} }],
    [200, { seq: "2", tokens: { rtc: { token: "t", expiresAt: 1 } } }], [200, { seq: 2, tokens: { rtc: null } }], [200, { seq: 2, tokens: { rtc: { token: "t" } } }],
  ]) {
    const sim = new Simulation(t);
    const { refresher } = await away(sim);
    await sim.pass(560 * second);
    await sim.fetches[0].answers(status, body);
    const what = `${status} ${JSON.stringify(body)}`;
    assert.equal(refresher.state, "away", what);
    assert.equal(sim.saw("error").length, 1, what);
    await sim.pass(499);
    assert.equal(sim.fetches.length, 1, what);
    await sim.pass(1);
    assert.equal(sim.fetches.length, 2, what);
    await sim.fetches[1].answers(200, sim.push({ seq: 2, ttl: 600 }));
    assert.equal(refresher.expiresAt, sim.seconds() + 600, what);
  }
});

test("answers without a later expiry do not cause a loop of requests", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim, { ttl: 3600, renewBefore: 300 });
  const { expiresAt } = refresher; // the expiry stays the same, since each answer in the loop repeats it
  await sim.pass(3360 * second);
  for (let seq = 2; sim.seconds() < expiresAt; seq++) {
    await sim.fetches.at(-1).answers(200, sim.push({ seq, expiresAt }));
    const before = sim.fetches.length;
    while (sim.fetches.length === before && sim.seconds() < expiresAt) await sim.pass(100);
  }
  assert.ok(sim.fetches.length < 25, `${sim.fetches.length} requests`);
});

test("renewals on the connection without a later expiry do not cause a loop", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 3600, renewBefore: 300 });
  const { expiresAt } = refresher;
  await sim.pass(3360 * second);
  for (let seq = 2; seq < 6; seq++) {
    await socket.says(sim.push({ seq, expiresAt }));
    await sim.pass(10 * second);
  }
  assert.equal(socket.take().filter(({ type }) => type === "renew").length, 1);
  assert.equal(sim.fetches.length, 0);
});

test("after a bundle with a later expiry, overdue tokens are requested again", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  const { expiresAt } = refresher;
  await sim.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await socket.says(sim.push({ seq: 2, cause: "renew", expiresAt }));
  await socket.says(sim.push({ seq: 3, ttl: 600 }));
  await block(sim, socket);
  await sim.pass(560 * second - 1);
  assert.equal(sim.fetches.length, 0);
  await sim.pass(1);
  assert.equal(sim.fetches.length, 1);
  await sim.fetches[0].answers(200, sim.push({ seq: 4, ttl: 600 }));
  assert.equal(refresher.expiresAt, sim.seconds() + 600);
});

test("tokens that an SDK refused while away are requested again, with backoff", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 3600, renewBefore: 300 });
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  await block(sim, socket);
  await sim.pass(3360 * second);
  client.refusal = { code: "UNEXPECTED_RESPONSE", message: "no" };
  const waits = [];
  for (let seq = 2; seq < 6; seq++) {
    await sim.fetches.at(-1).answers(200, sim.push({ seq, expiresAt: sim.seconds() + 600 + seq }));
    const [refused, before] = [sim.time, sim.fetches.length];
    while (sim.fetches.length === before) await sim.pass(100);
    waits.push(sim.time - refused);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000]);
  assert.deepEqual(sim.fetches.at(-1).body.seq, 1, "what is held, not what was refused");
  client.refusal = null;
  await sim.fetches.at(-1).answers(200, sim.push({ seq: 6, ttl: 600 }));
  assert.equal(client.expiresAt, sim.seconds() + 600);
  await sim.pass(359 * second);
  assert.equal(sim.fetches.length, 5);
});

test("a refusal just before the connection is lost leads to a request over HTTP", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  await sim.pass(550 * second);
  client.refusal = { code: 1, message: "no" };
  await socket.says(sim.push({ seq: 2, ttl: 600 }));
  client.refusal = null;
  await block(sim, socket);
  await sim.pass(1 * second);
  assert.equal(sim.fetches.length, 1);
  await sim.fetches[0].answers(200, sim.push({ seq: 3, ttl: 600 }));
  assert.equal(client.expiresAt, sim.seconds() + 600);
});

test("the answer sets the clock, so that a device whose clock jumped makes no loop of requests", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await away(sim);
  sim.wallError = 5 * hour;
  await sim.wake();
  await sim.pass(1 * second);
  assert.equal(sim.fetches.length, 1);
  await sim.fetches[0].answers(200, sim.push({ seq: 2, ttl: 600 }));
  assert.equal(refresher.now(), sim.time);
  await sim.pass(559 * second);
  assert.equal(sim.fetches.length, 1);
  await sim.pass(1 * second);
  assert.equal(sim.fetches.length, 2);
});

test("a request that is not answered yet is aborted at the session's end", async (t) => {
  for (const goes of [(refresher) => refresher.leave(), (refresher) => refresher.close()]) {
    const sim = new Simulation(t);
    const { refresher } = await away(sim);
    refresher.renew();
    goes(refresher);
    await settle();
    sim.assertEmpty();
    assert.equal(sim.events.at(-1).event, "ended");
  }
});
