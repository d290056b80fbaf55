// When the library opens, probes and abandons a socket, and what follows each close code.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { Simulation, hour, minute, second, settle } from "./fakes/index.js";

/**
 * Lets `failures` attempts to connect fail in a row. Returns how long the library waited after each failure.
 */
async function waits(sim, failures) {
  const found = [];
  for (let n = 0; n < failures; n++) {
    const began = sim.time;
    await sim.nextSocket();
    found.push(sim.time - began);
    await sim.socket.closes(1006);
  }
  return found;
}

// Backoff.

test("backs off by up to min(20 s, 0.5 s * 2^(n-1)) after the n-th failure", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.closes(1006);
  await waits(sim, 9);
  assert.deepEqual(sim.saw("lost").map(({ retryInMs }) => retryInMs), [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000, 20_000]);
});

test("with full jitter: the wait is any part of that", async (t) => {
  for (const random of [0, 0.001, 0.25, 0.999]) {
    const sim = new Simulation(t);
    sim.random = random;
    sim.refresher();
    await settle();
    await sim.socket.closes(1006);
    await waits(sim, 6);
    assert.deepEqual(sim.saw("lost").map(({ retryInMs }) => retryInMs), [500, 1000, 2000, 4000, 8000, 16_000, 20_000].map((ms) => ms * random));
  }
});

test("waits for retryInMs of `lost`", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.closes(1006);
  assert.deepEqual(await waits(sim, 5), [500, 1000, 2000, 4000, 8000]);
});

test("counts failures from 1 again only after 5 s of being joined", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.closes(1006);
  await waits(sim, 3);
  await sim.nextSocket();
  await sim.join();
  await sim.pass(5 * second - 1);
  await sim.socket.closes(1006);
  assert.equal(sim.saw("lost").at(-1).retryInMs, 8000);
  await sim.nextSocket();
  await sim.join();
  await sim.pass(5 * second);
  await sim.socket.closes(1006);
  assert.equal(sim.saw("lost").at(-1).retryInMs, 500);
});

test("a socket that is open for long, but not joined, does not reset the count of failures", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  for (const retryInMs of [500, 1000, 2000]) {
    await sim.socket.opens();
    await sim.pass(9 * second);
    await sim.socket.closes(1006);
    assert.equal(sim.saw("lost").at(-1).retryInMs, retryInMs);
    await sim.nextSocket();
  }
});

test("an error of the WebSocket's constructor is an error event, and the attempt is repeated", async (t) => {
  const sim = new Simulation(t);
  const { WebSocket } = sim.platform;
  const blocked = new Error("SecurityError");
  const refresher = sim.refresher({ platform: { ...sim.platform, WebSocket: class { constructor() { throw blocked; } } } });
  await sim.pass(10 * second);
  assert.deepEqual(new Set(sim.saw("error")), new Set([blocked]));
  assert.ok(sim.saw("lost").length >= 4);
  refresher.leave();
  sim.assertEmpty();
  assert.ok(WebSocket);
});

test("there is one socket at a time", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  for (let n = 0; n < 6; n++) {
    await sim.pass(40 * second);
    await sim.wake();
    assert.ok(sim.sockets.filter(({ readyState }) => readyState < 2).length <= 1);
  }
  assert.ok(sim.sockets.length > 3);
});

// Wake.

test("tries again at once when the page wakes or the device is online", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.closes(1006);
  await waits(sim, 6);
  assert.equal(sim.saw("lost").at(-1).retryInMs, 20_000);
  const before = sim.sockets.length;
  await sim.wake();
  assert.equal(sim.sockets.length, before + 1);
});

test("tries again at once when wake() is called", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await socket.closes(1006);
  refresher.wake();
  await settle();
  assert.equal(sim.sockets.length, 2);
});

test("waking twice opens one socket", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.closes(1006);
  await sim.wake();
  await sim.wake();
  await sim.wake();
  assert.equal(sim.sockets.length, 2);
});

test("a wake does not replace an attempt that has just begun, nor fetch its credential twice", async (t) => {
  const sim = new Simulation(t);
  const credential = t.mock.fn(() => new Promise(() => {}));
  sim.refresher({ credential });
  await sim.wake();
  await sim.wake();
  assert.equal(credential.mock.callCount(), 1);
});

test("a wake does not shorten the time that the service asked for", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says({ type: "reconnect", afterMs: 9000, reason: "overload" });
  await socket.closes(1013);
  await sim.pass(1 * second);
  await sim.wake();
  assert.equal(sim.sockets.length, 1);
  await sim.pass(8 * second - 1);
  await sim.wake();
  assert.equal(sim.sockets.length, 1);
  await sim.pass(1);
  assert.equal(sim.sockets.length, 2);
});

test("a wake pings a live connection", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await sim.wake();
  assert.equal(socket.pings.length, 1);
  await sim.pass(10 * second);
  assert.equal(sim.sockets.length, 1);
});

test("a wake drops a live connection without an answer in 5 s", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  await sim.wake();
  await sim.pass(5 * second - 1);
  assert.equal(refresher.state, "live");
  await sim.pass(1);
  assert.equal(refresher.state, "away");
  assert.equal(sim.saw("lost")[0].reason, "no answer");
});

// reconnect.

test("`reconnect`: the client acks and pings until the time is over, and then connects again", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { heartbeat: 2 });
  refresher.bind("rtc", { renew: async () => {} });
  await refresher.token("rtc");
  await socket.says({ type: "reconnect", afterMs: 7400, reason: "drain" });
  await sim.pass(7000);
  assert.equal(socket.pings.length, 3);
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  await sim.pass(399);
  assert.equal(sim.sockets.length, 1);
  assert.equal(refresher.state, "live");
  await sim.pass(1);
  assert.equal(sim.sockets.length, 2);
  assert.equal(socket.closedWith, 4000);
  assert.deepEqual(sim.saw("lost"), [{ reason: "drain", retryInMs: 0 }]);
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "resume");
  assert.equal(sim.socket.sent[0].seq, 2);
});

test("`reconnect`: if the service closes before, the client waits for the rest of the time", async (t) => {
  for (const code of [1012, 1013, 1006]) {
    const sim = new Simulation(t);
    const { socket } = await sim.live();
    await socket.says({ type: "reconnect", afterMs: 7000, reason: "drain" });
    await sim.pass(3000);
    await socket.closes(code);
    assert.deepEqual(sim.saw("lost"), [{ reason: `closed with ${code}`, retryInMs: 4000 }]);
    await sim.pass(3999);
    assert.equal(sim.sockets.length, 1);
    await sim.pass(1);
    assert.equal(sim.sockets.length, 2);
  }
});

test("`reconnect` in answer to a join: the client waits, and joins", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.opens();
  await sim.socket.says({ type: "error", code: "unavailable", message: "not now" });
  await sim.socket.says({ type: "reconnect", afterMs: 1250, reason: "overload" });
  await sim.socket.closes(1013);
  assert.equal(sim.saw("lost").at(-1).retryInMs, 1250);
  await sim.pass(1250);
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "join");
});

test("`reconnect`: backs off only if the attempt after it fails", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says({ type: "reconnect", afterMs: 0, reason: "drain" });
  await sim.pass(0);
  assert.equal(sim.sockets.length, 2);
  await sim.socket.closes(1006);
  assert.equal(sim.saw("lost").at(-1).retryInMs, 500);
});

test("a second `reconnect` replaces the time", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says({ type: "reconnect", afterMs: 20_000, reason: "drain" });
  await socket.says({ type: "reconnect", afterMs: 1000, reason: "drain" });
  await sim.pass(1000);
  assert.equal(sim.sockets.length, 2);
  await sim.join({ seq: 2 });
  await sim.pass(30 * second);
  assert.equal(sim.sockets.length, 2);
});

test("`reconnect` while a socket never confirms its close", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.opens();
  await sim.socket.says({ type: "reconnect", afterMs: 3000, reason: "overload" });
  await sim.pass(3000);
  assert.equal(sim.sockets.length, 2);
});

test("1013 without `reconnect` backs off", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.refuses(1013, "unavailable");
  assert.deepEqual(sim.saw("lost"), [{ reason: "closed with 1013", retryInMs: 500 }]);
});

// Heartbeat.

test("pings every heartbeat", async (t) => {
  for (const heartbeat of [1, 25]) {
    const sim = new Simulation(t);
    const { socket } = await sim.live({}, { heartbeat });
    const joined = sim.time;
    await sim.pass(4.5 * heartbeat * second);
    assert.deepEqual(socket.pings.map((at) => at - joined), [1, 2, 3, 4].map((n) => n * heartbeat * second));
  }
});

test("pings with the heartbeat of the newest joined", async (t) => {
  const sim = new Simulation(t);
  await sim.live({}, { heartbeat: 25 });
  await sim.resume({ seq: 2, heartbeat: 4 });
  await sim.pass(13 * second);
  assert.equal(sim.socket.pings.length, 3);
});

test("10 s without an answer to a ping: the client drops the connection, and connects again", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  await sim.pass(35 * second - 1);
  assert.equal(refresher.state, "live");
  await sim.pass(1);
  assert.equal(refresher.state, "away");
  assert.equal(socket.closedWith, 4000);
  assert.deepEqual(sim.saw("lost"), [{ reason: "no answer", retryInMs: 500 }]);
  await sim.nextSocket();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "resume");
});

test("the answer to a ping may take two heartbeats, between 2 and 10 s", async (t) => {
  for (const [heartbeat, patience] of [[1, 2], [1.25, 2.5], [2, 4], [4, 8], [5, 10], [25, 10], [50, 10], [3600, 10]]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({}, { heartbeat, ttl: 86_400 });
    socket.answersPings = false;
    await sim.pass((heartbeat + patience) * second - 1);
    assert.equal(refresher.state, "live", `heartbeat ${heartbeat}`);
    await sim.pass(1);
    assert.equal(refresher.state, "away", `heartbeat ${heartbeat}`);
  }
});

test("a node that stops without closing is noticed within half of the head start, whatever the lifetime", async (t) => {
  for (const [ttl, renewBefore, heartbeat] of [[12, 6, 1], [30, 15, 2], [60, 30, 5], [300, 45, 7], [600, 60, 10], [3600, 300, 50]]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({}, { ttl, renewBefore, heartbeat });
    await sim.pass(heartbeat * second);
    assert.equal(socket.pings.length, 1);
    socket.answersPings = false; // the connection dies just after it has answered a ping
    await sim.pass((renewBefore / 2) * second);
    assert.equal(refresher.state, "away", `tokens of ${ttl} s`);
  }
});

test("any message is an answer to a ping", async (t) => {
  for (const message of [{ type: "pong" }, { type: "something newer" }, "not even JSON"]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    socket.answersPings = false;
    await sim.pass(34 * second);
    await socket.says(message);
    await sim.pass(5 * second);
    assert.equal(refresher.state, "live");
  }
});

test("a heartbeat shorter than the answer's deadline does not put that off", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { heartbeat: 2 });
  socket.answersPings = false;
  await sim.pass(6 * second);
  assert.equal(refresher.state, "away");
});

test("messages and events of a replaced socket are ignored", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const { onopen, onmessage, onclose, onerror } = socket;
  socket.answersPings = false;
  await sim.pass(36 * second);
  await sim.join({ seq: 2, expiresAt: sim.seconds() + 3600 });
  const { expiresAt } = refresher;
  sim.socket.take();
  onopen({});
  onerror({});
  onmessage({ data: JSON.stringify(sim.push({ seq: 99, ttl: 9999 })) });
  onmessage({ data: JSON.stringify({ type: "ended", reason: "revoked", accessEndsAt: 0 }) });
  onclose({ code: 4410 });
  await settle();
  assert.equal(refresher.state, "live");
  assert.equal(refresher.expiresAt, expiresAt);
  assert.deepEqual(sim.socket.take(), []);
});

test("an attempt that is still connecting is left open, as Firefox may hold it back for 60 s", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  await sim.socket.closes(1006);
  await sim.nextSocket();
  await sim.pass(59 * second);
  assert.equal(sim.sockets.length, 2);
  await sim.join({ seq: 2 });
  assert.equal(refresher.state, "live");
  assert.equal(sim.sockets.length, 2);
});

test("an attempt that neither opens nor fails in 60 s: tries again at once, each time", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await sim.pass(60 * second - 1);
  assert.deepEqual(sim.saw("lost"), []);
  await sim.pass(1);
  assert.deepEqual(sim.saw("lost"), [{ reason: "no answer", retryInMs: 0 }]);
  assert.equal(sim.sockets[0].readyState, 2);
  await sim.pass(3 * minute);
  assert.equal(sim.sockets.length, 5);
});

test("while an attempt is connecting, tokens are renewed by HTTP, and resume says so when it opens", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 60, renewBefore: 30 });
  const renewed = [];
  refresher.bind("rtc", { renew: async (token) => void renewed.push(token) });
  await refresher.token("rtc");
  await socket.closes(1006);
  await sim.nextSocket();
  await sim.pass(50 * second);
  assert.equal(sim.sockets.length, 2);
  await sim.fetches.at(-1).answers(200, sim.push({ seq: 2, ttl: 60, cause: "renew" }));
  assert.equal(renewed.length, 1);
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].seq, 2);
});

test("a wake replaces an attempt that is still connecting, and the new one alone counts", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.closes(1006);
  await sim.nextSocket();
  const [, first] = sim.sockets;
  const { onopen } = first;
  await sim.pass(30 * second);
  await sim.wake();
  assert.equal(sim.sockets.length, 3);
  assert.equal(first.readyState, 2);
  onopen({});
  assert.deepEqual(first.sent, []);
  await sim.join({ seq: 2 });
  assert.equal(sim.sockets.length, 3);
});

test("no answer to join or resume in 10 s from the opening: the client tries again", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await sim.pass(9 * second);
  await sim.socket.opens();
  await sim.pass(10 * second - 1);
  assert.deepEqual(sim.saw("lost"), []);
  await sim.pass(1);
  assert.deepEqual(sim.saw("lost"), [{ reason: "no answer", retryInMs: 500 }]);
});

test("no message but joined is an answer to join", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.socket.opens();
  await sim.socket.says({ type: "something newer" });
  await sim.socket.says("not even JSON");
  await sim.pass(10 * second);
  assert.deepEqual(sim.saw("lost"), [{ reason: "no answer", retryInMs: 500 }]);
});

// Close codes.

// Each function sends a last message before a close. The names are those in closecodes.json, which `go generate
// ./test/docs` writes from the protocol's table of close codes.
const words = {
  none: () => {},
  error: (socket) => socket.says({ type: "error", code: "bad_request", message: "no" }),
  ended: (socket) => socket.says({ type: "ended", reason: "revoked", accessEndsAt: 0 }),
};

/** Closes the connection of an existing or a new session. Returns the library's reaction. */
async function afterClose(t, code, word, live) {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  if (live) await sim.join();
  else {
    await settle();
    await sim.socket.opens();
  }
  await words[word](sim.socket);
  await sim.socket.closes(code);
  if (refresher.state === "ended") {
    await sim.pass(hour);
    assert.equal(sim.sockets.length, 1);
    sim.assertEmpty();
    return "stop";
  }
  const [{ reason, retryInMs }] = sim.saw("lost");
  assert.equal(reason, `closed with ${code}`);
  await sim.nextSocket();
  await sim.socket.opens();
  const first = sim.socket.sent[0].type;
  if (live && first === "join") return "join afresh";
  assert.deepEqual([first, retryInMs], [live ? "resume" : "join", 500]);
  return "retry";
}

for (const { code, ...then } of JSON.parse(await readFile(new URL("closecodes.json", import.meta.url), "utf8"))) {
  test(`after close code ${code} the client does what the table of close codes says`, async (t) => {
    for (const [word, want] of Object.entries(then)) {
      assert.equal(await afterClose(t, code, word, true), want, `with a session, after ${word}`);
      assert.equal(await afterClose(t, code, word, false), want === "join afresh" ? "stop" : want, `before joined, after ${word}`);
    }
  });
}

test("a final close code after an error ends the session with that error", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await socket.refuses(4403, "forbidden", "what was wrong");
  assert.equal(refresher.state, "ended");
  assert.deepEqual(sim.saw("ended"), [{ reason: "forbidden", code: 4403, message: "what was wrong", accessEndsAt: 0 }]);
  assert.deepEqual(sim.saw("error").map(({ code: name, message }) => [name, message]), [["forbidden", "what was wrong"]]);
});

for (const [code, reason] of [[4410, "revoked"], [4410, "denied"], [4410, "left"], [4409, "superseded"], [1000, "left"]]) {
  test(`close code ${code} after ended "${reason}" ends the session, with its accessEndsAt`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    await socket.endsWith(reason, code, 1_796_043_600);
    assert.equal(refresher.state, "ended");
    assert.deepEqual(sim.saw("ended"), [{ reason, code, message: "", accessEndsAt: 1_796_043_600 }]);
    sim.assertEmpty();
  });
}

test("a final close code without a message before it is the reason", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await socket.closes(4410);
  assert.deepEqual(sim.saw("ended"), [{ reason: "closed with 4410", code: 4410, message: "", accessEndsAt: refresher.expiresAt }]);
});

test("an error that left the connection open is not the reason of a later end", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await socket.says({ type: "error", code: "bad_request", message: "ack.seq: 7 was not sent yet" });
  assert.equal(refresher.state, "live");
  await sim.pass(30 * second);
  await socket.closes(1009);
  assert.equal(refresher.state, "away");
});

test("an error on the connection before is not the reason of an end", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await socket.refuses(1013, "unavailable");
  await sim.nextSocket();
  await sim.socket.closes(1009);
  assert.equal(refresher.state, "away");
});

for (const [what, how] of [["4404", (socket) => socket.refuses(4404, "unknown_session")], [`4410 "expired"`, (socket) => socket.endsWith("expired")]]) {
  test(`${what} opens another session, once`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    await how(socket);
    assert.equal(refresher.state, "away");
    assert.equal(refresher.session, null);
    await sim.nextSocket();
    await sim.socket.opens();
    assert.equal(sim.socket.sent[0].type, "join");
    await how(sim.socket);
    assert.equal(refresher.state, "ended");
    sim.assertEmpty();
  });

  test(`${what} opens another session again, after one was joined`, async (t) => {
    const sim = new Simulation(t);
    const { refresher } = await sim.live();
    for (let n = 2; n < 5; n++) {
      await how(sim.socket);
      await sim.nextSocket();
      await sim.join({ session: `session-${n}` });
      assert.equal(refresher.session, `session-${n}`);
    }
    assert.equal(refresher.state, "live");
  });
}

test("after 4404 the client joins at once, whatever failures came before", async (t) => {
  const sim = new Simulation(t);
  await sim.live();
  for (let failures = 0; failures < 6; failures++) {
    await sim.socket.closes(1006);
    await sim.nextSocket();
  }
  await sim.socket.opens();
  await sim.socket.refuses(4404, "unknown_session");
  await sim.pass(0);
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "join");
  assert.equal(sim.saw("lost").at(-1).retryInMs, 0);
});

test("4404 does not use up the other credential that a 4401 may have", async (t) => {
  const sim = new Simulation(t);
  let calls = 0;
  const { refresher, socket } = await sim.live({ credential: () => `credential${++calls}` });
  await socket.refuses(4404, "unknown_session");
  for (const auth of ["credential2", "credential3"]) {
    await sim.nextSocket();
    await sim.socket.opens();
    assert.equal(sim.socket.sent[0].auth, auth);
    await sim.socket.refuses(4401, "unauthenticated");
  }
  assert.equal(refresher.state, "ended");
});

test("after 4401 the client joins once more, with another credential, if a function fetches it", async (t) => {
  const sim = new Simulation(t);
  let calls = 0;
  const refresher = sim.refresher({ credential: () => `credential${++calls}` });
  await settle();
  await sim.socket.opens();
  await sim.socket.refuses(4401, "unauthenticated");
  assert.equal(refresher.state, "connecting");
  await sim.nextSocket();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].auth, "credential2");
  await sim.socket.refuses(4401, "unauthenticated");
  assert.equal(refresher.state, "ended");
  assert.deepEqual(sim.saw("ended").map(({ reason, code }) => [reason, code]), [["unauthenticated", 4401]]);
});

test("4401 ends the session if the credential is a string", async (t) => {
  for (const credential of ["a.b.c", undefined]) {
    const sim = new Simulation(t);
    const refresher = sim.refresher({ credential });
    await settle();
    await sim.socket.opens();
    await sim.socket.refuses(4401, "unauthenticated");
    assert.equal(refresher.state, "ended");
  }
});

test("4403 ends the session, also if a function fetches the credential", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher({ credential: () => "c" });
  await settle();
  await sim.socket.opens();
  await sim.socket.refuses(4403, "forbidden");
  assert.equal(refresher.state, "ended");
});

test("a socket whose send throws does not stop the pings", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.send = () => {
    throw new Error("InvalidStateError");
  };
  refresher.renew();
  await sim.pass(25 * second);
  await sim.pass(10 * second);
  assert.equal(refresher.state, "away");
  await sim.nextSocket();
  await sim.join({ seq: 2 });
  await sim.pass(minute);
  assert.equal(refresher.state, "live");
});

test("a socket whose close throws is replaced all the same", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.close = () => {
    throw new Error("InvalidAccessError");
  };
  socket.answersPings = false;
  await sim.pass(36 * second);
  assert.equal(sim.sockets.length, 2);
  refresher.leave();
  assert.equal(refresher.state, "ended");
});

test("an error that the session survives does not make a later 1000 its end", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await socket.says({ type: "error", code: "bad_request", message: "that seq was not sent yet" });
  await socket.closes(1000);
  assert.equal(refresher.state, "away");
});

test("a wake replaces an attempt that takes long, but not one that has just begun", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await sim.pass(minute);
  await socket.closes(1006);
  await sim.nextSocket();
  const attempts = sim.sockets.length;
  await sim.wake();
  assert.equal(sim.sockets.length, attempts);
  await sim.pass(3 * second);
  await sim.wake();
  assert.equal(sim.sockets.length, attempts + 1);
});

test("an error page that came instead of a credential is not sent, and the credential is fetched again", async (t) => {
  const sim = new Simulation(t);
  const answers = ["<h1>502 Bad Gateway</h1>", "", "good\n"];
  const refresher = sim.refresher({ credential: () => answers.shift() });
  await sim.pass(3 * second);
  assert.equal(sim.saw("error").length, 2);
  assert.equal(refresher.state, "connecting");
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].auth, "good");
});
