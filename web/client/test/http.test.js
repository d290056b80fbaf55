// Renewal over HTTP, for as long as there is no connection.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { RtcClient, World, hour, minute, second, settle } from "./world.js";

/** A live call that loses its connection; each new socket fails at once. */
async function away(world, joined = {}, options = {}) {
  const { refresher, socket } = await world.live(options, { ttl: 600, renewBefore: 50, ...joined });
  await block(world, socket);
  return { refresher };
}

async function block(world, socket) {
  world.blocked = true;
  await socket.closes(1006);
}

/** A request as it should be, for a session and what is held of it. */
function assertAsks(request, { session = "session-1", key = "key-1", seq = 1, expiresAt }) {
  assert.equal(request.url, `https://calls.example.com/v1/sessions/${session}/renew`);
  assert.equal(request.method, "POST");
  assert.deepEqual(request.headers, { authorization: `Bearer ${key}`, "content-type": "application/json" });
  assert.deepEqual(request.body, { seq, expiresAt });
}

test("renews when 0.8 of renewBefore are left", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world);
  const { expiresAt } = refresher;
  await world.pass(560 * second - 1);
  assert.equal(world.fetches.length, 0);
  await world.pass(1);
  assert.equal(world.fetches.length, 1);
  assertAsks(world.fetches[0], { expiresAt });
});

test("applies the answer, and the next resume carries its seq", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  const client = new RtcClient(world);
  bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  await block(world, socket);
  await world.pass(560 * second);
  const push = world.push({ seq: 2, cause: "renew", ttl: 600 });
  await world.fetches[0].answers(200, push);
  assert.equal(client.token, push.tokens.rtc.token);
  assert.equal(refresher.expiresAt, push.tokens.rtc.expiresAt);
  const { seq, via, cause } = world.saw("renewed").at(-1);
  assert.deepEqual({ seq, via, cause }, { seq: 2, via: "http", cause: "renew" });
  await world.pass(559 * second);
  assert.equal(world.fetches.length, 1);
  await world.pass(1 * second);
  assertAsks(world.fetches[1], { seq: 2, expiresAt: push.tokens.rtc.expiresAt });
  world.blocked = false;
  await world.nextSocket();
  await world.socket.opens();
  assert.deepEqual(world.socket.sent[0], { type: "resume", session: "session-1", key: "key-1", seq: 2, expiresAt: push.tokens.rtc.expiresAt });
});

test("joins again with an answer that says so", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  const client = new RtcClient(world);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await client.join(await refresher.token("rtc"));
  client.connectionState = "DISCONNECTED"; // and its word of that did not come
  await block(world, socket);
  await world.pass(560 * second);
  await world.fetches[0].answers(200, world.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(client.taken.map(({ by }) => by), ["join", "join"]);
});

test("keeps trying the WebSocket meanwhile", async (t) => {
  const world = new World(t);
  await away(world);
  await world.pass(560 * second);
  const before = world.sockets.length;
  await world.fetches[0].answers(200, world.push({ seq: 2 }));
  await world.pass(5 * minute);
  assert.ok(world.sockets.length > before + 10);
});

test("a service that answers pings, but no renew, is asked over HTTP after 8 s, and again", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  await world.pass(568 * second - 1);
  assert.equal(world.fetches.length, 0);
  await world.pass(1);
  assert.equal(world.fetches.length, 1);
  await world.fetches[0].fails();
  await world.pass(1 * second);
  assert.equal(world.fetches.length, 2);
  const push = world.push({ seq: 2, ttl: 600 });
  await world.fetches[1].answers(200, push);
  assert.equal(refresher.expiresAt, push.tokens.rtc.expiresAt);
  assert.deepEqual(socket.take(), [{ type: "renew" }, { type: "ack", seq: 2 }]);
  await world.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  assert.equal(world.fetches.length, 2);
});

test("asks once by the connection when a push is overdue there", async (t) => {
  const world = new World(t);
  const { socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  await world.pass(560 * second - 1);
  assert.deepEqual(socket.take(), []);
  await world.pass(1);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await world.pass(7 * second);
  assert.deepEqual(socket.take(), []);
  await socket.says(world.push({ seq: 2, ttl: 600 }));
  await world.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "renew" }]);
});

test("makes no request before the session exists", async (t) => {
  const world = new World(t);
  const refresher = world.refresher();
  await settle();
  await world.socket.closes(1006);
  refresher.renew();
  world.blocked = true;
  await world.pass(hour);
  assert.equal(world.fetches.length, 0);
});

test("makes no request once it is live again", async (t) => {
  const world = new World(t);
  const { socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  await world.pass(550 * second);
  await socket.closes(1006);
  await world.nextSocket();
  await world.join({ seq: 2, ttl: 600, renewBefore: 50 });
  await world.pass(5 * minute);
  assert.equal(world.fetches.length, 0);
});

test("renew() while away asks at once, and one request at a time", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world);
  refresher.renew();
  refresher.renew();
  await settle();
  assert.equal(world.fetches.length, 1);
  await world.fetches[0].answers(200, world.push({ seq: 2 }));
  refresher.renew();
  assert.equal(world.fetches.length, 2);
});

test("a session that is no word of a path is escaped", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world, { session: "a/../b?c#d" });
  refresher.renew();
  assert.equal(world.fetches[0].url, "https://calls.example.com/v1/sessions/a%2F..%2Fb%3Fc%23d/renew");
});

test("no answer in 8 s: the request is aborted, and tried again", async (t) => {
  const world = new World(t);
  await away(world);
  await world.pass(560 * second);
  await world.pass(8 * second - 1);
  assert.equal(world.fetches[0].pending, true);
  await world.pass(1);
  assert.equal(world.fetches[0].pending, false);
  assert.match(world.saw("error").at(-1).message, /HTTP/);
  await world.pass(0.5 * second);
  assert.equal(world.fetches.length, 2);
});

test("backs off like the connection while there is no answer", async (t) => {
  const world = new World(t);
  await away(world, { ttl: 3600, renewBefore: 300 });
  await world.pass(3360 * second);
  const waits = [];
  for (let n = 0; n < 8; n++) {
    await world.fetches.at(-1).fails();
    const [failed, before] = [world.time, world.fetches.length];
    while (world.fetches.length === before) await world.pass(100);
    waits.push(world.time - failed);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

test("counts failures from 1 again after tokens that were applied", async (t) => {
  const world = new World(t);
  await away(world, { ttl: 3600, renewBefore: 300 });
  await world.pass(3360 * second);
  for (let n = 0; n < 4; n++) {
    const before = world.fetches.length;
    await world.fetches.at(-1).fails();
    while (world.fetches.length === before) await world.pass(100);
  }
  await world.fetches.at(-1).answers(200, world.push({ seq: 2, ttl: 3600 }));
  await world.pass(3360 * second);
  await world.fetches.at(-1).fails();
  const before = world.fetches.length;
  await world.pass(500);
  assert.equal(world.fetches.length, before + 1);
});

test("answers of 429 and 503 are obeyed: not before Retry-After, whatever else happens", async (t) => {
  for (const status of [429, 503]) {
    const world = new World(t);
    await away(world, { ttl: 3600, renewBefore: 300 });
    await world.pass(3360 * second);
    await world.fetches[0].answers(status, { error: "not now", code: "unavailable", status }, { "retry-after": "60" });
    assert.ok(world.sockets.length > 3, "attempts at a connection fail meanwhile");
    await world.pass(60 * second - 1);
    await world.wake();
    assert.equal(world.fetches.length, 1, String(status));
    await world.pass(1);
    assert.equal(world.fetches.length, 2);
  }
});

test("a Retry-After that says nothing is the backoff", async (t) => {
  for (const [status, headers] of [[500, {}], [503, { "retry-after": "soon" }], [503, { "retry-after": "-5" }], [502, { "retry-after": "0" }]]) {
    const world = new World(t);
    await away(world);
    await world.pass(560 * second);
    await world.fetches[0].answers(status, "<html>", headers);
    assert.deepEqual(world.saw("error"), []);
    await world.pass(499);
    assert.equal(world.fetches.length, 1);
    await world.pass(1);
    assert.equal(world.fetches.length, 2);
  }
});

test("a Retry-After counts no more once it was live again", async (t) => {
  const world = new World(t);
  await away(world);
  await world.pass(560 * second);
  await world.fetches[0].answers(503, {}, { "retry-after": "9999" });
  world.blocked = false;
  await world.nextSocket();
  await world.join({ seq: 2, ttl: 600, renewBefore: 50 });
  await block(world, world.socket);
  await world.pass(560 * second);
  assert.equal(world.fetches.length, 2);
});

test("404 joins afresh", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world);
  await world.pass(560 * second);
  await world.fetches[0].answers(404, { error: "join afresh", code: "unknown_session", status: 404 });
  assert.equal(refresher.session, null);
  assert.equal(refresher.state, "away");
  world.blocked = false;
  await world.nextSocket();
  await world.socket.opens();
  assert.equal(world.socket.sent[0].type, "join");
  await world.pass(minute);
  assert.equal(world.fetches.length, 1);
});

test("404 while a resume is on its way: that one is given up for a join", async (t) => {
  for (const opens of [false, true]) {
    const world = new World(t);
    const { refresher } = await world.live();
    await world.socket.closes(1006);
    refresher.renew();
    const socket = await world.nextSocket();
    if (opens) await socket.opens();
    await world.fetches[0].answers(404, { error: "join afresh", code: "unknown_session", status: 404 });
    assert.equal(socket.readyState, 2);
    await world.socket.opens();
    assert.deepEqual(world.socket.sent.map(({ type }) => type), ["join"]);
  }
});

test("410 is the end, for the service's reason", async (t) => {
  for (const reason of ["revoked", "denied", "superseded", "left"]) {
    const world = new World(t);
    const { refresher } = await away(world);
    await world.pass(560 * second);
    await world.fetches[0].answers(410, { error: `session ended: ${reason}`, code: "unknown_session", status: 410, reason, accessEndsAt: 77 });
    assert.equal(refresher.state, "ended");
    assert.deepEqual(world.saw("ended"), [{ reason, code: 410, message: `session ended: ${reason}`, accessEndsAt: 77 }]);
    world.assertEmpty();
  }
});

test("410 with \"expired\" joins afresh", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world);
  await world.pass(560 * second);
  await world.fetches[0].answers(410, { error: "session ended: expired", code: "unknown_session", status: 410, reason: "expired", accessEndsAt: 77 });
  assert.equal(refresher.state, "away");
  assert.equal(refresher.session, null);
});

test("a refusal of a key that a newer one has replaced says nothing", async (t) => {
  for (const [status, reason] of [[410, "superseded"], [404, undefined]]) {
    const world = new World(t);
    const { refresher } = await away(world);
    refresher.renew();
    world.blocked = false;
    await world.nextSocket();
    await world.join({ seq: 2, key: "newer" });
    await world.fetches[0].answers(status, { error: "no", code: "unknown_session", status, reason });
    assert.equal(refresher.state, "live");
    await world.resume({ seq: 3 });
    assert.equal(world.socket.sent[0].key, "newer");
  }
});

test("tokens for a session that was let go meanwhile are not taken", async (t) => {
  for (const joinsFirst of [true, false]) {
    const world = new World(t);
    const { refresher } = await away(world);
    refresher.renew();
    world.blocked = false;
    await world.nextSocket();
    await world.socket.opens();
    await world.socket.refuses(4404, "unknown_session");
    const errors = world.saw("error").length;
    if (joinsFirst) {
      await world.nextSocket();
      await world.join({ session: "session-2" });
    }
    const { expiresAt } = refresher;
    await world.fetches[0].answers(200, world.push({ seq: 9, ttl: 9000 }));
    assert.equal(refresher.expiresAt, expiresAt);
    assert.equal(world.saw("error").length, errors);
  }
});

test("what is not the service's answer ends nothing: it is an error, and tried again", async (t) => {
  for (const [status, body] of [
    [400, { error: "?", code: "bad_request", status: 400 }], [401, {}], [403, "<html>blocked</html>"], [404, "<html>not found</html>"], [404, { message: "no route" }],
    [407, ""], [410, "gone"], [410, null], [204, ""], [302, ""], [200, "<html>sign in to the hotel's network</html>"], [200, null], [200, []], [200, {}], [200, { seq: 2, tokens: {} }],
    [200, { seq: "2", tokens: { rtc: { token: "t", expiresAt: 1 } } }], [200, { seq: 2, tokens: { rtc: null } }], [200, { seq: 2, tokens: { rtc: { token: "t" } } }],
  ]) {
    const world = new World(t);
    const { refresher } = await away(world);
    await world.pass(560 * second);
    await world.fetches[0].answers(status, body);
    const what = `${status} ${JSON.stringify(body)}`;
    assert.equal(refresher.state, "away", what);
    assert.equal(world.saw("error").length, 1, what);
    await world.pass(499);
    assert.equal(world.fetches.length, 1, what);
    await world.pass(1);
    assert.equal(world.fetches.length, 2, what);
    await world.fetches[1].answers(200, world.push({ seq: 2, ttl: 600 }));
    assert.equal(refresher.expiresAt, world.seconds() + 600, what);
  }
});

test("answers that bring no later expiry are not asked for in a circle", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world, { ttl: 3600, renewBefore: 300 });
  const { expiresAt } = refresher; // the session ends with these tokens
  await world.pass(3360 * second);
  for (let seq = 2; world.seconds() < expiresAt; seq++) {
    await world.fetches.at(-1).answers(200, world.push({ seq, expiresAt }));
    const before = world.fetches.length;
    while (world.fetches.length === before && world.seconds() < expiresAt) await world.pass(100);
  }
  assert.ok(world.fetches.length < 25, `${world.fetches.length} requests`);
});

test("nor on the connection", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 3600, renewBefore: 300 });
  const { expiresAt } = refresher;
  await world.pass(3360 * second);
  for (let seq = 2; seq < 6; seq++) {
    await socket.says(world.push({ seq, expiresAt }));
    await world.pass(10 * second);
  }
  assert.equal(socket.take().filter(({ type }) => type === "renew").length, 1);
  assert.equal(world.fetches.length, 0);
});

test("until there is a better one: what follows it is asked for again", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  const { expiresAt } = refresher;
  await world.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await socket.says(world.push({ seq: 2, cause: "renew", expiresAt }));
  await socket.says(world.push({ seq: 3, ttl: 600 }));
  await block(world, socket);
  await world.pass(560 * second - 1);
  assert.equal(world.fetches.length, 0);
  await world.pass(1);
  assert.equal(world.fetches.length, 1);
  await world.fetches[0].answers(200, world.push({ seq: 4, ttl: 600 }));
  assert.equal(refresher.expiresAt, world.seconds() + 600);
});

test("tokens that the SDK refused while away are replaced, with growing patience", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 3600, renewBefore: 300 });
  const client = new RtcClient(world);
  bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  await block(world, socket);
  await world.pass(3360 * second);
  client.refusal = { code: "UNEXPECTED_RESPONSE", message: "no" };
  const waits = [];
  for (let seq = 2; seq < 6; seq++) {
    await world.fetches.at(-1).answers(200, world.push({ seq, expiresAt: world.seconds() + 600 + seq }));
    const [refused, before] = [world.time, world.fetches.length];
    while (world.fetches.length === before) await world.pass(100);
    waits.push(world.time - refused);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 4000]);
  assert.deepEqual(world.fetches.at(-1).body.seq, 1, "what is held, not what was refused");
  client.refusal = null;
  await world.fetches.at(-1).answers(200, world.push({ seq: 6, ttl: 600 }));
  assert.equal(client.expiresAt, world.seconds() + 600);
  await world.pass(359 * second);
  assert.equal(world.fetches.length, 5);
});

test("a refusal just before the connection is lost is made up for over HTTP", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 600, renewBefore: 50 });
  const client = new RtcClient(world);
  bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  await world.pass(550 * second);
  client.refusal = { code: 1, message: "no" };
  await socket.says(world.push({ seq: 2, ttl: 600 }));
  client.refusal = null;
  await block(world, socket);
  await world.pass(1 * second);
  assert.equal(world.fetches.length, 1);
  await world.fetches[0].answers(200, world.push({ seq: 3, ttl: 600 }));
  assert.equal(client.expiresAt, world.seconds() + 600);
});

test("the answer's clock counts, so that a device whose clock jumped does not ask in a circle", async (t) => {
  const world = new World(t);
  const { refresher } = await away(world);
  world.wallError = 5 * hour;
  await world.wake();
  await world.pass(1 * second);
  assert.equal(world.fetches.length, 1);
  await world.fetches[0].answers(200, world.push({ seq: 2, ttl: 600 }));
  assert.equal(refresher.now(), world.time);
  await world.pass(559 * second);
  assert.equal(world.fetches.length, 1);
  await world.pass(1 * second);
  assert.equal(world.fetches.length, 2);
});

test("a request on its way ends with the call, and says nothing any more", async (t) => {
  for (const goes of [(refresher) => refresher.leave(), (refresher) => refresher.close()]) {
    const world = new World(t);
    const { refresher } = await away(world);
    refresher.renew();
    goes(refresher);
    await settle();
    world.assertEmpty();
    assert.equal(world.events.at(-1).event, "ended");
  }
});
