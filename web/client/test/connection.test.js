// When a socket is opened, distrusted and left, and what close codes mean.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { World, hour, minute, second, settle } from "./world.js";

/** Lets attempts fail one after the other, and lists how long each wait was. */
async function waits(world, failures) {
  const found = [];
  for (let n = 0; n < failures; n++) {
    const began = world.time;
    await world.nextSocket();
    found.push(world.time - began);
    await world.socket.closes(1006);
  }
  return found;
}

// Backoff.

test("backs off by up to min(20 s, 0.5 s * 2^(n-1)) after the n-th failure", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.closes(1006);
  await waits(world, 9);
  assert.deepEqual(world.saw("lost").map(({ retryInMs }) => retryInMs), [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000, 20_000]);
});

test("with full jitter: the wait is any part of that", async (t) => {
  for (const random of [0, 0.001, 0.25, 0.999]) {
    const world = new World(t);
    world.random = random;
    world.refresher();
    await settle();
    await world.socket.closes(1006);
    await waits(world, 6);
    assert.deepEqual(world.saw("lost").map(({ retryInMs }) => retryInMs), [500, 1000, 2000, 4000, 8000, 16_000, 20_000].map((ms) => ms * random));
  }
});

test("waits as long as it says in `lost`", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.closes(1006);
  assert.deepEqual(await waits(world, 5), [500, 1000, 2000, 4000, 8000]);
});

test("counts failures from 1 again only after 5 s of being joined", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.closes(1006);
  await waits(world, 3);
  await world.nextSocket();
  await world.join();
  await world.pass(5 * second - 1);
  await world.socket.closes(1006);
  assert.equal(world.saw("lost").at(-1).retryInMs, 8000);
  await world.nextSocket();
  await world.join();
  await world.pass(5 * second);
  await world.socket.closes(1006);
  assert.equal(world.saw("lost").at(-1).retryInMs, 500);
});

test("a socket that is open for long, but not joined, resets nothing", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  for (const retryInMs of [500, 1000, 2000]) {
    await world.socket.opens();
    await world.pass(9 * second);
    await world.socket.closes(1006);
    assert.equal(world.saw("lost").at(-1).retryInMs, retryInMs);
    await world.nextSocket();
  }
});

test("a WebSocket that can't even be made is tried again", async (t) => {
  const world = new World(t);
  const { WebSocket } = world.platform;
  const blocked = new Error("SecurityError");
  const refresher = world.refresher({ platform: { ...world.platform, WebSocket: class { constructor() { throw blocked; } } } });
  await world.pass(10 * second);
  assert.deepEqual(new Set(world.saw("error")), new Set([blocked]));
  assert.ok(world.saw("lost").length >= 4);
  refresher.leave();
  world.assertEmpty();
  assert.ok(WebSocket);
});

test("there is one socket at a time", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  for (let n = 0; n < 6; n++) {
    await world.pass(40 * second);
    await world.wake();
    assert.ok(world.sockets.filter(({ readyState }) => readyState < 2).length <= 1);
  }
  assert.ok(world.sockets.length > 3);
});

// Wake.

test("tries again at once when the page wakes or the device is online", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.closes(1006);
  await waits(world, 6);
  assert.equal(world.saw("lost").at(-1).retryInMs, 20_000);
  const before = world.sockets.length;
  await world.wake();
  assert.equal(world.sockets.length, before + 1);
});

test("and by wake(), where no page event tells", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  await socket.closes(1006);
  refresher.wake();
  await settle();
  assert.equal(world.sockets.length, 2);
});

test("waking twice opens one socket", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await socket.closes(1006);
  await world.wake();
  await world.wake();
  await world.wake();
  assert.equal(world.sockets.length, 2);
});

test("waking does not disturb an attempt that is under way, nor ask for its credential twice", async (t) => {
  const world = new World(t);
  const credential = t.mock.fn(() => new Promise(() => {}));
  world.refresher({ credential });
  await world.wake();
  await world.wake();
  assert.equal(credential.mock.callCount(), 1);
});

test("waking does not shorten what the service asked for", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await socket.says({ type: "reconnect", afterMs: 9000, reason: "overload" });
  await socket.closes(1013);
  await world.pass(1 * second);
  await world.wake();
  assert.equal(world.sockets.length, 1);
  await world.pass(8 * second - 1);
  await world.wake();
  assert.equal(world.sockets.length, 1);
  await world.pass(1);
  assert.equal(world.sockets.length, 2);
});

test("waking with a live connection looks whether it is", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await world.wake();
  assert.equal(socket.pings.length, 1);
  await world.pass(10 * second);
  assert.equal(world.sockets.length, 1);
});

test("and drops it when there is no answer in 5 s", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  socket.answersPings = false;
  await world.wake();
  await world.pass(5 * second - 1);
  assert.equal(refresher.state, "live");
  await world.pass(1);
  assert.equal(refresher.state, "away");
  assert.equal(world.saw("lost")[0].reason, "no answer");
});

// reconnect.

test("`reconnect`: goes on with acks and pings until the span is over, and then moves", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { heartbeat: 2 });
  refresher.bind("rtc", { renew: async () => {} });
  await refresher.token("rtc");
  await socket.says({ type: "reconnect", afterMs: 7400, reason: "drain" });
  await world.pass(7000);
  assert.equal(socket.pings.length, 3);
  await socket.says(world.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  await world.pass(399);
  assert.equal(world.sockets.length, 1);
  assert.equal(refresher.state, "live");
  await world.pass(1);
  assert.equal(world.sockets.length, 2);
  assert.equal(socket.closedWith, 4000);
  assert.deepEqual(world.saw("lost"), [{ reason: "drain", retryInMs: 0 }]);
  await world.socket.opens();
  assert.equal(world.socket.sent[0].type, "resume");
  assert.equal(world.socket.sent[0].seq, 2);
});

test("`reconnect`: closed by the server before that, it waits the rest", async (t) => {
  for (const code of [1012, 1013, 1006]) {
    const world = new World(t);
    const { socket } = await world.live();
    await socket.says({ type: "reconnect", afterMs: 7000, reason: "drain" });
    await world.pass(3000);
    await socket.closes(code);
    assert.deepEqual(world.saw("lost"), [{ reason: `closed with ${code}`, retryInMs: 4000 }]);
    await world.pass(3999);
    assert.equal(world.sockets.length, 1);
    await world.pass(1);
    assert.equal(world.sockets.length, 2);
  }
});

test("`reconnect` in answer to a join: waits, and joins", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.opens();
  await world.socket.says({ type: "error", code: "unavailable", message: "not now" });
  await world.socket.says({ type: "reconnect", afterMs: 1250, reason: "overload" });
  await world.socket.closes(1013);
  assert.equal(world.saw("lost").at(-1).retryInMs, 1250);
  await world.pass(1250);
  await world.socket.opens();
  assert.equal(world.socket.sent[0].type, "join");
});

test("`reconnect`: backs off only if the attempt after it fails", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await socket.says({ type: "reconnect", afterMs: 0, reason: "drain" });
  await world.pass(0);
  assert.equal(world.sockets.length, 2);
  await world.socket.closes(1006);
  assert.equal(world.saw("lost").at(-1).retryInMs, 500);
});

test("`reconnect` once more replaces the span", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await socket.says({ type: "reconnect", afterMs: 20_000, reason: "drain" });
  await socket.says({ type: "reconnect", afterMs: 1000, reason: "drain" });
  await world.pass(1000);
  assert.equal(world.sockets.length, 2);
  await world.join({ seq: 2 });
  await world.pass(30 * second);
  assert.equal(world.sockets.length, 2);
});

test("`reconnect` while a socket waits for its close, which never comes", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.opens();
  await world.socket.says({ type: "reconnect", afterMs: 3000, reason: "overload" });
  await world.pass(3000);
  assert.equal(world.sockets.length, 2);
});

test("1013 without `reconnect` backs off", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await socket.refuses(1013, "unavailable");
  assert.deepEqual(world.saw("lost"), [{ reason: "closed with 1013", retryInMs: 500 }]);
});

// Heartbeat.

test("pings every heartbeat", async (t) => {
  for (const heartbeat of [1, 25]) {
    const world = new World(t);
    const { socket } = await world.live({}, { heartbeat });
    const joined = world.time;
    await world.pass(4.5 * heartbeat * second);
    assert.deepEqual(socket.pings.map((at) => at - joined), [1, 2, 3, 4].map((n) => n * heartbeat * second));
  }
});

test("pings at the pace of the newest joined", async (t) => {
  const world = new World(t);
  await world.live({}, { heartbeat: 25 });
  await world.resume({ seq: 2, heartbeat: 4 });
  await world.pass(13 * second);
  assert.equal(world.socket.pings.length, 3);
});

test("10 s without an answer to a ping: dropped, and connected anew", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  socket.answersPings = false;
  await world.pass(35 * second - 1);
  assert.equal(refresher.state, "live");
  await world.pass(1);
  assert.equal(refresher.state, "away");
  assert.equal(socket.closedWith, 4000);
  assert.deepEqual(world.saw("lost"), [{ reason: "no answer", retryInMs: 500 }]);
  await world.nextSocket();
  await world.socket.opens();
  assert.equal(world.socket.sent[0].type, "resume");
});

test("the patience with an answer to a ping is two heartbeats, between 2 and 10 s", async (t) => {
  for (const [heartbeat, patience] of [[1, 2], [1.25, 2.5], [2, 4], [4, 8], [5, 10], [25, 10], [50, 10], [3600, 10]]) {
    const world = new World(t);
    const { refresher, socket } = await world.live({}, { heartbeat, ttl: 86_400 });
    socket.answersPings = false;
    await world.pass((heartbeat + patience) * second - 1);
    assert.equal(refresher.state, "live", `heartbeat ${heartbeat}`);
    await world.pass(1);
    assert.equal(refresher.state, "away", `heartbeat ${heartbeat}`);
  }
});

test("a node that stops without a word is found within half of the head start, whatever the lifetime", async (t) => {
  for (const [ttl, renewBefore, heartbeat] of [[12, 6, 1], [30, 15, 2], [60, 30, 5], [300, 45, 7], [600, 60, 10], [3600, 300, 50]]) {
    const world = new World(t);
    const { refresher, socket } = await world.live({}, { ttl, renewBefore, heartbeat });
    await world.pass(heartbeat * second);
    assert.equal(socket.pings.length, 1);
    socket.answersPings = false; // the worst moment: it has just answered
    await world.pass((renewBefore / 2) * second);
    assert.equal(refresher.state, "away", `tokens of ${ttl} s`);
  }
});

test("anything that the service says is an answer", async (t) => {
  for (const message of [{ type: "pong" }, { type: "something newer" }, "not even JSON"]) {
    const world = new World(t);
    const { refresher, socket } = await world.live();
    socket.answersPings = false;
    await world.pass(34 * second);
    await socket.says(message);
    await world.pass(5 * second);
    assert.equal(refresher.state, "live");
  }
});

test("a heartbeat shorter than the answer's deadline does not put that off", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { heartbeat: 2 });
  socket.answersPings = false;
  await world.pass(6 * second);
  assert.equal(refresher.state, "away");
});

test("what an abandoned socket says later is not heard", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  const { onopen, onmessage, onclose, onerror } = socket;
  socket.answersPings = false;
  await world.pass(36 * second);
  await world.join({ seq: 2, expiresAt: world.seconds() + 3600 });
  const { expiresAt } = refresher;
  world.socket.take();
  onopen({});
  onerror({});
  onmessage({ data: JSON.stringify(world.push({ seq: 99, ttl: 9999 })) });
  onmessage({ data: JSON.stringify({ type: "ended", reason: "revoked", accessEndsAt: 0 }) });
  onclose({ code: 4410 });
  await settle();
  assert.equal(refresher.state, "live");
  assert.equal(refresher.expiresAt, expiresAt);
  assert.deepEqual(world.socket.take(), []);
});

test("an attempt that is still connecting is left open, as Firefox may hold it back for 60 s", async (t) => {
  const world = new World(t);
  const { refresher } = await world.live();
  await world.socket.closes(1006);
  await world.nextSocket();
  await world.pass(59 * second);
  assert.equal(world.sockets.length, 2);
  await world.join({ seq: 2 });
  assert.equal(refresher.state, "live");
  assert.equal(world.sockets.length, 2);
});

test("an attempt that neither opens nor fails in 60 s: tries again at once, each time", async (t) => {
  const world = new World(t);
  world.refresher();
  await world.pass(60 * second - 1);
  assert.deepEqual(world.saw("lost"), []);
  await world.pass(1);
  assert.deepEqual(world.saw("lost"), [{ reason: "no answer", retryInMs: 0 }]);
  assert.equal(world.sockets[0].readyState, 2);
  await world.pass(3 * minute);
  assert.equal(world.sockets.length, 5);
});

test("while an attempt is connecting, tokens are renewed by HTTP, and resume says so when it opens", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live({}, { ttl: 60, renewBefore: 30 });
  const renewed = [];
  refresher.bind("rtc", { renew: async (token) => void renewed.push(token) });
  await refresher.token("rtc");
  await socket.closes(1006);
  await world.nextSocket();
  await world.pass(50 * second);
  assert.equal(world.sockets.length, 2);
  await world.fetches.at(-1).answers(200, world.push({ seq: 2, ttl: 60, cause: "renew" }));
  assert.equal(renewed.length, 1);
  await world.socket.opens();
  assert.equal(world.socket.sent[0].seq, 2);
});

test("a wake replaces an attempt that is still connecting, and the new one alone counts", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await socket.closes(1006);
  await world.nextSocket();
  const [, first] = world.sockets;
  const { onopen } = first;
  await world.pass(30 * second);
  await world.wake();
  assert.equal(world.sockets.length, 3);
  assert.equal(first.readyState, 2);
  onopen({});
  assert.deepEqual(first.sent, []);
  await world.join({ seq: 2 });
  assert.equal(world.sockets.length, 3);
});

test("no answer to join or resume in 10 s, counted from the opening: tries again", async (t) => {
  const world = new World(t);
  world.refresher();
  await world.pass(9 * second);
  await world.socket.opens();
  await world.pass(10 * second - 1);
  assert.deepEqual(world.saw("lost"), []);
  await world.pass(1);
  assert.deepEqual(world.saw("lost"), [{ reason: "no answer", retryInMs: 500 }]);
});

test("nothing but joined is an answer to join", async (t) => {
  const world = new World(t);
  world.refresher();
  await settle();
  await world.socket.opens();
  await world.socket.says({ type: "something newer" });
  await world.socket.says("not even JSON");
  await world.pass(10 * second);
  assert.deepEqual(world.saw("lost"), [{ reason: "no answer", retryInMs: 500 }]);
});

// Close codes.

// closecodes.json is written by `go generate ./test/docs`, from the table of the protocol:
// what follows each code, by the last message before it.
const words = {
  none: () => {},
  error: (socket) => socket.says({ type: "error", code: "bad_request", message: "no" }),
  ended: (socket) => socket.says({ type: "ended", reason: "revoked", accessEndsAt: 0 }),
};

/** What the library does after a close, with a session or without one yet. */
async function afterClose(t, code, word, live) {
  const world = new World(t);
  const refresher = world.refresher();
  if (live) await world.join();
  else {
    await settle();
    await world.socket.opens();
  }
  await words[word](world.socket);
  await world.socket.closes(code);
  if (refresher.state === "ended") {
    await world.pass(hour);
    assert.equal(world.sockets.length, 1);
    world.assertEmpty();
    return "stop";
  }
  const [{ reason, retryInMs }] = world.saw("lost");
  assert.equal(reason, `closed with ${code}`);
  await world.nextSocket();
  await world.socket.opens();
  const first = world.socket.sent[0].type;
  if (live && first === "join") return "join afresh";
  assert.deepEqual([first, retryInMs], [live ? "resume" : "join", 500]);
  return "retry";
}

for (const { code, ...then } of JSON.parse(await readFile(new URL("closecodes.json", import.meta.url), "utf8"))) {
  test(`after close code ${code} it does what the table of close codes says`, async (t) => {
    for (const [word, want] of Object.entries(then)) {
      assert.equal(await afterClose(t, code, word, true), want, `with a session, after ${word}`);
      assert.equal(await afterClose(t, code, word, false), want === "join afresh" ? "stop" : want, `before joined, after ${word}`);
    }
  });
}

test("a close code after an error is the end, for that error", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  await socket.refuses(4403, "forbidden", "what was wrong");
  assert.equal(refresher.state, "ended");
  assert.deepEqual(world.saw("ended"), [{ reason: "forbidden", code: 4403, message: "what was wrong", accessEndsAt: 0 }]);
  assert.deepEqual(world.saw("error").map(({ code: name, message }) => [name, message]), [["forbidden", "what was wrong"]]);
});

for (const [code, reason] of [[4410, "revoked"], [4410, "denied"], [4410, "left"], [4409, "superseded"], [1000, "left"]]) {
  test(`close code ${code} after ended "${reason}" is the end, with its accessEndsAt`, async (t) => {
    const world = new World(t);
    const { refresher, socket } = await world.live();
    await socket.endsWith(reason, code, 1_796_043_600);
    assert.equal(refresher.state, "ended");
    assert.deepEqual(world.saw("ended"), [{ reason, code, message: "", accessEndsAt: 1_796_043_600 }]);
    world.assertEmpty();
  });
}

test("a close code that is the end, without a word before it, names itself", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  await socket.closes(4410);
  assert.deepEqual(world.saw("ended"), [{ reason: "closed with 4410", code: 4410, message: "", accessEndsAt: refresher.expiresAt }]);
});

test("an error that left the connection open is no reason for an end that comes later", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  await socket.says({ type: "error", code: "bad_request", message: "ack.seq: 7 was not sent yet" });
  assert.equal(refresher.state, "live");
  await world.pass(30 * second); // with a pong
  await socket.closes(1009);
  assert.equal(refresher.state, "away");
});

test("nor is one on the connection before", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  await socket.refuses(1013, "unavailable");
  await world.nextSocket();
  await world.socket.closes(1009);
  assert.equal(refresher.state, "away");
});

for (const [what, how] of [["4404", (socket) => socket.refuses(4404, "unknown_session")], [`4410 "expired"`, (socket) => socket.endsWith("expired")]]) {
  test(`${what} joins afresh, once`, async (t) => {
    const world = new World(t);
    const { refresher, socket } = await world.live();
    await how(socket);
    assert.equal(refresher.state, "away");
    assert.equal(refresher.session, null);
    await world.nextSocket();
    await world.socket.opens();
    assert.equal(world.socket.sent[0].type, "join");
    await how(world.socket);
    assert.equal(refresher.state, "ended");
    world.assertEmpty();
  });

  test(`${what} may come again after that session was joined`, async (t) => {
    const world = new World(t);
    const { refresher } = await world.live();
    for (let n = 2; n < 5; n++) {
      await how(world.socket);
      await world.nextSocket();
      await world.join({ session: `session-${n}` });
      assert.equal(refresher.session, `session-${n}`);
    }
    assert.equal(refresher.state, "live");
  });
}

test("after 4404 it joins at once, whatever failures came before", async (t) => {
  const world = new World(t);
  await world.live();
  for (let failures = 0; failures < 6; failures++) {
    await world.socket.closes(1006);
    await world.nextSocket();
  }
  await world.socket.opens();
  await world.socket.refuses(4404, "unknown_session");
  await world.pass(0);
  await world.socket.opens();
  assert.equal(world.socket.sent[0].type, "join");
  assert.equal(world.saw("lost").at(-1).retryInMs, 0);
});

test("4404 does not use up the other credential that a 4401 may have", async (t) => {
  const world = new World(t);
  let calls = 0;
  const { refresher, socket } = await world.live({ credential: () => `credential${++calls}` });
  await socket.refuses(4404, "unknown_session");
  for (const auth of ["credential2", "credential3"]) {
    await world.nextSocket();
    await world.socket.opens();
    assert.equal(world.socket.sent[0].auth, auth);
    await world.socket.refuses(4401, "unauthenticated");
  }
  assert.equal(refresher.state, "ended");
});

test("4401 joins once more, with a new credential, where a function fetches one", async (t) => {
  const world = new World(t);
  let calls = 0;
  const refresher = world.refresher({ credential: () => `credential${++calls}` });
  await settle();
  await world.socket.opens();
  await world.socket.refuses(4401, "unauthenticated");
  assert.equal(refresher.state, "connecting");
  await world.nextSocket();
  await world.socket.opens();
  assert.equal(world.socket.sent[0].auth, "credential2");
  await world.socket.refuses(4401, "unauthenticated");
  assert.equal(refresher.state, "ended");
  assert.deepEqual(world.saw("ended").map(({ reason, code }) => [reason, code]), [["unauthenticated", 4401]]);
});

test("4401 is the end for a credential that can't change", async (t) => {
  for (const credential of ["a string", undefined]) {
    const world = new World(t);
    const refresher = world.refresher({ credential });
    await settle();
    await world.socket.opens();
    await world.socket.refuses(4401, "unauthenticated");
    assert.equal(refresher.state, "ended");
  }
});

test("4403 is not tried again, even with a function for credentials", async (t) => {
  const world = new World(t);
  const refresher = world.refresher({ credential: () => "c" });
  await settle();
  await world.socket.opens();
  await world.socket.refuses(4403, "forbidden");
  assert.equal(refresher.state, "ended");
});

test("a socket that throws when it is used does not stop the heart", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  socket.send = () => {
    throw new Error("InvalidStateError");
  };
  refresher.renew();
  await world.pass(25 * second);
  await world.pass(10 * second);
  assert.equal(refresher.state, "away");
  await world.nextSocket();
  await world.join({ seq: 2 });
  await world.pass(minute);
  assert.equal(refresher.state, "live");
});

test("a socket that throws when it is closed is let go all the same", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  socket.close = () => {
    throw new Error("InvalidAccessError");
  };
  socket.answersPings = false;
  await world.pass(36 * second);
  assert.equal(world.sockets.length, 2);
  refresher.leave();
  assert.equal(refresher.state, "ended");
});

test("an error that the session survives does not make a later 1000 its end", async (t) => {
  const world = new World(t);
  const { refresher, socket } = await world.live();
  await socket.says({ type: "error", code: "bad_request", message: "that seq was not sent yet" });
  await socket.closes(1000);
  assert.equal(refresher.state, "away");
});

test("a wake begins an attempt again that hangs, but not one that has just begun", async (t) => {
  const world = new World(t);
  const { socket } = await world.live();
  await world.pass(minute);
  await socket.closes(1006);
  await world.nextSocket(); // and it never opens
  const attempts = world.sockets.length;
  await world.wake();
  assert.equal(world.sockets.length, attempts);
  await world.pass(3 * second);
  await world.wake();
  assert.equal(world.sockets.length, attempts + 1);
});

test("what is fetched in place of a credential, an error page, is not sent, and is fetched again", async (t) => {
  const world = new World(t);
  const answers = ["<h1>502 Bad Gateway</h1>", "", "good\n"];
  const refresher = world.refresher({ credential: () => answers.shift() });
  await world.pass(3 * second);
  assert.equal(world.saw("error").length, 2);
  assert.equal(refresher.state, "connecting");
  await world.socket.opens();
  assert.equal(world.socket.sent[0].auth, "good");
});
