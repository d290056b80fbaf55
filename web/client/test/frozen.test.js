// A page that was frozen, because its process was stopped or the device slept. Meanwhile messages of the
// service wait in the socket. When the page runs again, the browser delivers the messages and fires overdue
// timers in any order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Simulation, hour, second, settle } from "./fakes/index.js";

const ttl = 12;

/** Opens a session with tokens of 12 s, and freezes its page for 45 s while a ping is unanswered. */
async function frozen(t) {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl, renewBefore: 6, heartbeat: 1 });
  const renewed = [];
  refresher.bind("rtc", { renew: async (token) => void renewed.push(JSON.parse(atob(token.slice(3))).expiresAt) });
  await refresher.token("rtc");
  await sim.pass(3500);
  socket.answersPings = false;
  await sim.pass(1000);
  socket.take();
  const stopped = sim.time;
  const pong = (ms) => ({ type: "pong", now: stopped + ms });
  const push = (ms, seq, attempt) => ({
    ...sim.push({ seq, attempt, expiresAt: sim.seconds(ms) + ttl, action: ms > 8 * second ? "rejoin" : "renew" }), now: stopped + ms,
  });
  const waiting = [pong(20), push(1500, 2, 1), push(3500, 2, 2), push(8500, 3, 1), push(10_500, 3, 2), push(20_500, 4, 1)];
  await sim.sleep(45 * second, { steady: true });
  return { sim, refresher, socket, renewed, waiting };
}

/** Delivers the waiting messages. The overdue timers fire just before the message with the index `timersBefore`. */
async function thaw({ sim, refresher, socket, waiting }, timersBefore) {
  const tokens = [];
  for (let n = 0; n <= waiting.length; n++) {
    if (n === timersBefore) await sim.pass(0);
    if (n < waiting.length) await socket.says(waiting[n]);
    void refresher.token("rtc").then((token) => void tokens.push(JSON.parse(atob(token.slice(3))).expiresAt), () => {});
    await settle();
    assert.ok(Math.abs(refresher.now() - sim.time) < second, `the clock is ${sim.time - refresher.now()} ms behind after message ${n + 1}`);
  }
  return tokens;
}

for (const timersBefore of [0, 1, 2, 3, 4, 5, 6]) {
  const order = `overdue timers run before message ${timersBefore + 1} of 6`;

  test(`a page that was frozen takes no message that waited for a prompt answer, and no bundle that has expired: ${order}`, async (t) => {
    const page = await frozen(t);
    const { sim, refresher, socket, renewed } = page;
    const tokens = await thaw(page, timersBefore);
    assert.deepEqual(tokens, [], "token() waits for one that is good");
    assert.deepEqual(renewed, [], "the SDK is given none that has ended");
    assert.deepEqual(sim.saw("renewed").filter(({ seq }) => seq > 1), []);
    assert.deepEqual(sim.saw("tokens").filter(({ seq }) => seq > 1), []);
    assert.deepEqual(socket.take().filter(({ type }) => type !== "renew"), [], "none is acked");
    if (socket.readyState === 1) await socket.closes(4001);
    await sim.nextSocket();
    await sim.join({ seq: 5, ttl, renewBefore: 6, heartbeat: 1, action: "rejoin" });
    assert.deepEqual(tokens.length, 7);
    assert.ok(tokens.every((expiresAt) => expiresAt > sim.seconds()));
    assert.equal(sim.socket.sent[0].seq, 1, "it resumes from the bundle that was applied");
    assert.deepEqual(renewed, [refresher.expiresAt]);
    assert.ok(sim.saw("renewed").at(-1).marginMs < 0, "the tokens before ran out");
  });

  test(`a page that was frozen, but not disconnected, takes the answer to its overdue request: ${order}`, async (t) => {
    const page = await frozen(t);
    const { sim, refresher, socket, renewed } = page;
    await thaw(page, timersBefore);
    assert.ok(socket.take().some(({ type }) => type === "renew"));
    await socket.says(sim.push({ seq: 5, ttl, action: "rejoin" }));
    assert.deepEqual(renewed, [refresher.expiresAt]);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 5 }]);
  });
}

test("a pong is prompt if it came soon after its own ping, not after a later one", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  await sim.pass(26 * second);
  const late = { type: "pong", now: sim.time };
  await sim.sleep(40 * second);
  await sim.wake(); // makes the library send another ping
  await socket.says(late);
  assert.equal(refresher.now(), sim.time);
  await socket.says({ type: "pong", now: sim.time - 300 }); // the answer to that ping is prompt, so it can set the clock back
  assert.equal(refresher.now(), sim.time - 300);
});

test("no message but pong and joined sets the clock back", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  await sim.pass(26 * second); // now a ping is unanswered, so a prompt pong could set the clock back
  for (const message of [sim.push({ seq: 2 }), { type: "reconnect", afterMs: hour, reason: "drain" }, { type: "something newer" }]) {
    await socket.says({ ...message, now: sim.time - 40 * second });
    assert.equal(refresher.now(), sim.time, message.type);
  }
});

test("a bundle that expires before its delivery is not delivered, and one that expires during it is not acked", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 12, renewBefore: 6 });
  const given = [];
  refresher.bind("rtc", { renew: (token) => new Promise((resolve) => void given.push({ token, resolve })) });
  await refresher.token("rtc");
  const before = given.length;
  await socket.says(sim.push({ seq: 2, ttl: 3 }));
  await socket.says(sim.push({ seq: 3, ttl: 4 }));
  await sim.pass(5 * second);
  given[before].resolve();
  await settle();
  assert.equal(given.length, before + 1);
  assert.deepEqual(socket.take().filter(({ type }) => type === "ack"), []);
  assert.deepEqual(sim.saw("renewed").filter(({ seq }) => seq > 1), []);
});

test("with a clock that was set forward, a bundle that seems to have expired is taken when it is pushed again", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  refresher.bind("rtc", { renew: async () => {} });
  await refresher.token("rtc");
  sim.wallError = 5 * hour;
  await socket.says(sim.push({ seq: 2 }));
  await sim.pass(0);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  assert.equal(refresher.now(), sim.time, "a ping has set it right");
  await socket.says(sim.push({ seq: 2, attempt: 2 }));
  assert.ok(socket.take().some(({ type, seq }) => type === "ack" && seq === 2));
});

for (const [when, more] of [["while the SDK answers", []], ["while it waits for the SDK", [3]]]) {
  test(`a bundle that is dropped since the clock is set forward ${when} is answered when it is pushed again`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    const answers = [];
    refresher.bind("rtc", { renew: () => new Promise((resolve) => void answers.push(resolve)) });
    await refresher.token("rtc");
    for (const seq of [2, ...more]) await socket.says(sim.push({ seq }));
    sim.wallError = 5 * hour;
    answers.shift()();
    await settle();
    await sim.wake();
    await sim.pass(0);
    assert.equal(refresher.now(), sim.time, "the pong has set it right");
    assert.deepEqual(socket.take().filter(({ type }) => type !== "renew"), []);
    const seq = 2 + more.length;
    await socket.says(sim.push({ seq, attempt: 2 }));
    assert.equal(answers.length, 1, "the SDK gets it again");
    answers.shift()();
    await settle();
    assert.deepEqual(socket.take(), [{ type: "ack", seq }]);
  });
}
