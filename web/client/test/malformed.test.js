// Malformed messages, from the service or from a proxy.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Simulation, hour, minute, second, settle } from "./fakes/index.js";

const good = { rtc: { token: "007token", expiresAt: 1_796_050_000 } };
const bundles = [
  {}, { seq: 2 }, { tokens: good }, { seq: null, tokens: good }, { seq: 0, tokens: good }, { seq: -1, tokens: good }, { seq: 1.5, tokens: good },
  { seq: "2", tokens: good }, { seq: [2], tokens: good }, { seq: 1e300, tokens: good }, { seq: 2, tokens: null }, { seq: 2, tokens: [] }, { seq: 2, tokens: {} },
  { seq: 2, tokens: "rtc" }, { seq: 2, tokens: 7 }, { seq: 2, tokens: { rtc: null } }, { seq: 2, tokens: { rtc: "007token" } }, { seq: 2, tokens: { rtc: {} } },
  { seq: 2, tokens: { rtc: { token: "007token" } } }, { seq: 2, tokens: { rtc: { token: "007token", expiresAt: "1796050000" } } },
  { seq: 2, tokens: { rtc: { token: "007token", expiresAt: null } } }, { seq: 2, tokens: { rtc: { expiresAt: 1_796_050_000 } } },
  { seq: 2, tokens: { rtc: { token: 7, expiresAt: 1_796_050_000 } } }, { seq: 2, tokens: { ...good, rtm: null } },
];
const texts = ["", "x", "{", "null", "true", "17", `"text"`, "[]", "[null]", `[{"type":"joined"}]`, "{}", `{"type":null}`, `{"type":7}`, `{"type":[]}`, `{"type":"pang"}`, `{"type":"__proto__"}`];
const messages = [
  ...texts,
  ...["token-privilege-will-expire", "token-privilege-did-expire"].flatMap((type) => bundles.map((bundle) => ({ type, ...bundle }))),
  ...bundles.map((bundle) => ({ type: "joined", session: "s", key: "k", ...bundle })),
  { type: "joined", seq: 2, tokens: good }, { type: "joined", seq: 2, tokens: good, session: 1, key: 2 }, { type: "joined", seq: 2, tokens: good, session: "s" },
  { type: "reconnect" }, { type: "reconnect", afterMs: null }, { type: "reconnect", afterMs: "7" }, { type: "reconnect", afterMs: 1e300 }, `{"type":"reconnect","afterMs":1e999}`,
  { type: "pong" }, { type: "pong", now: null }, `{"type":"pong","now":1e999}`, { type: "pong", now: "x" },
  { type: "error" }, { type: "error", code: null, message: null }, { type: "error", code: {}, message: [] }, { type: "error", code: 7, message: 8 },
];

for (const message of messages) {
  const text = typeof message === "string" ? message : JSON.stringify(message);
  test(`the session stays live after ${text || "an empty message"}`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    refresher.bind("rtc", { renew: async () => {} });
    await refresher.token("rtc");
    const { expiresAt } = refresher;
    await socket.says(message);
    assert.equal(refresher.state, "live");
    assert.equal(refresher.expiresAt, expiresAt);
    assert.equal(refresher.session, "session-1");
    assert.deepEqual(socket.take(), []);
    await sim.pass(26 * second);
    assert.equal(socket.pings.length, 1, "the heart beats as before");
    const push = sim.push({ seq: 2 });
    await socket.says(push);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
    assert.equal(await refresher.token("rtc"), push.tokens.rtc.token);
    await sim.resume({ seq: 3, heartbeat: 1000 });
    assert.equal(sim.socket.sent[0].key, "key-1");
    await sim.pass(3400 * second);
    assert.equal(refresher.state, "live");
    assert.deepEqual(sim.socket.take().slice(-1), [{ type: "renew" }], "and tokens are guarded as before");
    refresher.leave();
    sim.assertEmpty();
  });
}

test("no malformed message is an answer to join: after 10 s the client tries again", async (t) => {
  const sim = new Simulation(t);
  sim.random = 0;
  const refresher = sim.refresher();
  await settle();
  for (const message of messages.filter((one) => one.type !== "error" && one.type !== "reconnect")) {
    if (JSON.stringify(message).includes("will-expire")) continue;
    const { socket } = sim;
    await socket.opens();
    await socket.says(message);
    await sim.pass(10 * second);
    assert.notEqual(sim.socket, socket, JSON.stringify(message));
    assert.equal(refresher.state, "connecting");
  }
});

test("a malformed message is an error event, without its content", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says(`{"type":"joined","key":"a secret"`);
  await socket.says({ type: "joined", key: "a secret" });
  await socket.says({ type: "token-privilege-will-expire", seq: 2, tokens: { rtc: { token: "a secret" } } });
  await socket.says({ type: "reconnect", reason: "a secret" });
  assert.equal(sim.saw("error").length, 4);
  for (const error of sim.saw("error")) assert.ok(!String(error.message).includes("secret"));
});

for (const [what, fields] of [
  ["no heartbeat", { heartbeat: undefined }], ["a heartbeat of 0", { heartbeat: 0 }], ["one below 0", { heartbeat: -5 }], ["a tiny one", { heartbeat: 1e-9 }],
  ["one that is no number", { heartbeat: "often" }], ["null for one", { heartbeat: null }],
]) {
  test(`after a joined with ${what} the client pings every 25 s`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({}, fields);
    await sim.pass(101 * second);
    assert.equal(socket.pings.length, 4);
    assert.equal(refresher.state, "live");
  });
}

for (const renewBefore of [undefined, null, -300, "300 s", {}]) {
  test(`after a joined with renewBefore ${JSON.stringify(renewBefore)} overdue tokens are still requested`, async (t) => {
    const sim = new Simulation(t);
    const { socket } = await sim.live({}, { ttl: 600, renewBefore });
    await sim.pass(599 * second);
    assert.deepEqual(socket.take(), []);
    await sim.pass(1 * second);
    assert.deepEqual(socket.take(), [{ type: "renew" }]);
  });
}

test("an afterMs below 0 is now", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says({ type: "reconnect", afterMs: -5000, reason: "drain" });
  await sim.pass(0);
  assert.equal(sim.sockets.length, 2);
});

test("the largest afterMs is waited for, and tokens are renewed over HTTP meanwhile", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await socket.says({ type: "reconnect", afterMs: Number.MAX_SAFE_INTEGER, reason: "drain" });
  await socket.closes(1012);
  await sim.pass(560 * second);
  await sim.fetches[0].answers(200, sim.push({ seq: 2, ttl: 3600 }));
  assert.equal(refresher.expiresAt, sim.seconds() + 3600);
  assert.equal(sim.sockets.length, 1);
});

test("an invalid afterMs is ignored: the close that follows leads to a backoff", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says(`{"type":"reconnect","afterMs":1e999,"reason":"overload"}`);
  await socket.closes(1013);
  assert.deepEqual(sim.saw("lost"), [{ reason: "closed with 1013", retryInMs: 500 }]);
});

test("tokens that have expired already are neither used, nor acked, nor requested in a loop", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  let token;
  void refresher.token("rtc").then((found) => (token = found), () => {});
  const socket = await sim.join({ ttl: -10 });
  assert.deepEqual(socket.take().slice(1), [{ type: "renew" }]);
  for (let seq = 2; seq < 8; seq++) await socket.says(sim.push({ seq, ttl: -10 }));
  await sim.pass(0);
  assert.deepEqual(socket.take().filter(({ type }) => type === "renew"), []);
  assert.equal(token, undefined);
  await sim.pass(hour);
  assert.equal(refresher.state, "live");
});

test("an ended or error without a reason, or without anything else, ends the session with the close code", async (t) => {
  for (const message of [{ type: "ended" }, { type: "ended", reason: null, accessEndsAt: null }, { type: "error" }]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    await socket.says(message);
    await socket.closes(4410);
    assert.equal(refresher.state, "ended");
    assert.equal(sim.saw("ended")[0].reason, "closed with 4410");
    await refresher.token("rtc").then(assert.fail, (error) => assert.match(error.message, /^the session has ended: closed with 4410/));
  }
});

test("a binary message is an error event, and the session goes on", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  for (const data of [new Blob(["{}"]), new ArrayBuffer(8), undefined, null, Object.create({ toString: () => "{" })]) {
    sim.run(() => socket.onmessage({ data }));
    await settle();
  }
  assert.equal(refresher.state, "live");
  await sim.pass(minute);
  assert.equal(refresher.state, "live");
});
