// Clocks that are wrong, jump or stand still, and timers that are late or never fire.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Alarms, Clock } from "../time.js";
import { Simulation, day, hour, minute, second, settle } from "./fakes/index.js";

test("deadlines that passed while the device slept take effect when it wakes", async (t) => {
  for (const steady of [false, true]) {
    const sim = new Simulation(t);
    const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
    await sim.sleep(570 * second, { steady });
    await sim.wake();
    assert.ok(socket.take().some(({ type }) => type === "renew"), `steady: ${steady}`);
  }
});

test("deadlines take effect when a message comes, though no timer fired", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.sleep(570 * second);
  await socket.says({ type: "something newer" });
  assert.ok(socket.take().some(({ type }) => type === "renew"));
});

test("deadlines take effect when a late timer fires", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.pass(530 * second);
  socket.take();
  await sim.sleep(40 * second); // a sleep of 40 s is so short that the service keeps the connection
  await sim.pass(25 * second);
  assert.ok(socket.take().some(({ type }) => type === "renew"));
});

test("token() does not resolve with a token that expired during a sleep", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.sleep(601 * second);
  let token;
  void refresher.token("rtc").then((found) => (token = found));
  await settle();
  assert.equal(token, undefined);
});

test("an overdue answer after a sleep gets a second ping and 5 s more", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  await sim.pass(25 * second);
  assert.equal(socket.pings.length, 1);
  await sim.sleep(hour); // the pong waits in the socket
  await sim.pass(10 * second - 1);
  assert.equal(refresher.state, "live");
  await sim.pass(1);
  assert.equal(refresher.state, "live");
  assert.equal(socket.pings.length, 3, "the heartbeat's, and the probe's");
  await socket.says({ type: "pong", now: sim.time });
  await sim.pass(10 * second);
  assert.equal(refresher.state, "live");
});

test("an overdue answer after a sleep gets no more time than a ping, with a short heartbeat", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { heartbeat: 2 });
  socket.answersPings = false;
  await sim.pass(2 * second);
  await sim.sleep(hour);
  await sim.wake();
  await sim.pass(4 * second - 1);
  assert.equal(refresher.state, "live");
  await sim.pass(1);
  assert.equal(refresher.state, "away");
});

test("without an answer to the second ping the connection is dropped", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  await sim.pass(25 * second);
  await sim.sleep(hour);
  await sim.wake();
  await sim.pass(5 * second - 1);
  assert.equal(refresher.state, "live");
  await sim.pass(1);
  assert.equal(refresher.state, "away");
});

test("each overdue answer gets a second ping, if a message came since the one before", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  socket.answersPings = false;
  for (let n = 0; n < 3; n++) {
    await sim.pass(25 * second);
    await sim.sleep(hour);
    await sim.wake();
    assert.equal(refresher.state, "live");
    await socket.says({ type: "pong", now: sim.time });
  }
});

test("alarms that were due during a sleep ring in their order", async (t) => {
  const sim = new Simulation(t);
  const alarms = new Alarms(sim.platform, new Clock(sim.platform));
  const rang = [];
  for (const name of ["3", "1", "4", "2"]) alarms.set(name, Number(name) * second, (late) => void rang.push([name, late]));
  await sim.sleep(10 * second);
  alarms.check();
  assert.deepEqual(rang, [["1", 9000], ["2", 8000], ["3", 7000], ["4", 6000]]);
});

test("an alarm that an earlier alarm has set again does not ring", async (t) => {
  const sim = new Simulation(t);
  const alarms = new Alarms(sim.platform, new Clock(sim.platform));
  const rang = [];
  alarms.set("first", 1 * second, () => {
    alarms.set("second", 60 * second, () => rang.push("second"));
    alarms.clear("third");
  });
  alarms.set("second", 2 * second, () => rang.push("too early"));
  alarms.set("third", 3 * second, () => rang.push("cleared"));
  await sim.sleep(10 * second);
  alarms.check();
  assert.deepEqual(rang, []);
  await sim.pass(60 * second);
  assert.deepEqual(rang, ["second"]);
});

test("an overdue answer that is noticed up to 2 s late drops the connection", async (t) => {
  for (const [late, state] of [[2000, "away"], [2001, "live"]]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    socket.answersPings = false;
    await sim.pass(34 * second);
    await sim.sleep(1000 + late);
    await sim.wake();
    assert.equal(refresher.state, state, `${late} ms`);
  }
});

test("an attempt that began before a sleep is replaced", async (t) => {
  const sim = new Simulation(t);
  sim.refresher();
  await settle();
  await sim.sleep(hour);
  await sim.wake();
  assert.equal(sim.saw("lost")[0].reason, "no answer");
  assert.equal(sim.sockets.length, 2, "and another begun, since the device woke");
});

test("a backoff that passed during a sleep is over", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live();
  await socket.says({ type: "reconnect", afterMs: 20_000, reason: "drain" });
  await socket.closes(1012);
  await sim.sleep(21 * second);
  await sim.wake();
  assert.equal(sim.sockets.length, 2);
});

test("a page that was frozen until the service closed its connection reconnects by its own clock", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await sim.sleep(49 * second);
  await sim.pass(10 * second);
  assert.equal(refresher.state, "live");
  await sim.sleep(51 * second);
  await sim.pass(1 * second);
  assert.equal(socket.readyState, 3);
  assert.deepEqual(sim.saw("lost").map(({ reason }) => reason), ["closed with 4001"]);
  await sim.join();
  assert.equal(refresher.state, "live");
});

test("throttled timers: a live call in the background stays live, and pings once a minute", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  sim.throttle = minute;
  await sim.pass(hour);
  assert.equal(refresher.state, "live");
  assert.ok(socket.pings.length >= 59);
});

test("throttled timers: with a heartbeat of 50 s the client is never silent for so long that the service closes", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { heartbeat: 50 });
  const joined = sim.time;
  sim.throttle = minute;
  await sim.pass(hour - minute);
  assert.equal(refresher.state, "live");
  assert.equal(sim.sockets.length, 1);
  for (const [n, at] of socket.pings.entries()) {
    assert.ok(at - (socket.pings[n - 1] ?? joined) < 2 * 50 * second, `ping ${n + 1} after ${(at - joined) / second} s`);
  }
  assert.ok(sim.time - socket.pings.at(-1) < 2 * 50 * second);
});

test("throttled timers: a half-open connection in the background is found", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  sim.throttle = minute;
  await sim.pass(10 * minute);
  socket.answersPings = false;
  await sim.pass(4 * minute);
  assert.equal(socket.closedWith, 4000);
  assert.notEqual(sim.socket, socket);
  assert.equal(refresher.state, "away");
});

test("throttled timers: pushes in the background are acked when they come", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  refresher.bind("rtc", { renew: async () => {} });
  await refresher.token("rtc");
  sim.throttle = minute;
  await sim.pass(54 * minute + 7 * second);
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("an alarm beyond setTimeout's longest delay does not ring at once", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: (90 * day) / second, heartbeat: 10_000_000 });
  await socket.says({ type: "reconnect", afterMs: 60 * day, reason: "drain" });
  await sim.pass(59 * day);
  assert.equal(sim.sockets.length, 1);
  await socket.closes(1012);
  assert.equal(sim.saw("lost")[0].retryInMs, day);
  await sim.pass(day - 1);
  assert.equal(sim.sockets.length, 1);
  await sim.pass(1);
  assert.equal(sim.sockets.length, 2);
});

test("tokens that expire in 100 days are requested in 100 days", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: (100 * day) / second, heartbeat: 100_000 });
  await sim.pass(100 * day - 241 * second);
  assert.deepEqual(socket.take(), []);
  await sim.pass(1 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

for (const error of [-30 * day, -3 * hour, -40 * second, 40 * second, 3 * hour, 30 * day]) {
  test(`a device's clock that is wrong by ${error / hour} hours changes nothing`, async (t) => {
    const sim = new Simulation(t);
    sim.wallError = error;
    const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
    assert.equal(refresher.now(), sim.time);
    await sim.pass(560 * second - 1);
    assert.deepEqual(socket.take(), []);
    assert.ok(await refresher.token("rtc"));
    await sim.pass(1);
    assert.deepEqual(socket.take(), [{ type: "renew" }]);
    assert.equal(sim.sockets.length, 1);
  });
}

test("a clock that is set back in mid-call changes nothing", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.pass(100 * second);
  sim.wallError = -5 * hour;
  await sim.wake();
  await sim.pass(460 * second - 1);
  assert.deepEqual(socket.take(), []);
  assert.equal(refresher.now(), sim.time);
  await sim.pass(1);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  assert.equal(sim.sockets.length, 1);
});

test("a sleep counts after the clock was set back", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  sim.wallError = -5 * hour;
  await sim.pass(30 * second);
  await sim.sleep(540 * second);
  await sim.wake();
  assert.ok(socket.take().some(({ type }) => type === "renew"));
});

test("a clock that is set forward in mid-call costs at most a ping and a renewal, and is right after the next message", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  await sim.pass(100 * second);
  sim.wallError = 5 * hour;
  await sim.wake();
  await sim.pass(1 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  assert.equal(refresher.state, "live");
  assert.equal(refresher.now(), sim.time);
  await socket.says(sim.push({ seq: 2, ttl: 600 }));
  await sim.pass(560 * second - 1);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  await sim.pass(1);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  assert.equal(sim.sockets.length, 1);
});

test("after the clock was set forward, token() resolves with the next pong", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 50 });
  socket.answersPings = false;
  sim.wallError = 5 * hour;
  let token;
  void refresher.token("rtc").then((found) => (token = found));
  await settle();
  assert.equal(token, undefined);
  socket.answersPings = true;
  await sim.pass(25 * second);
  assert.ok(token);
  assert.equal(refresher.now(), sim.time);
});

test("a message that waited while the device slept does not set the clock back, and token() resolves with no expired token", async (t) => {
  for (const wakes of [false, true]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    socket.answersPings = false;
    await sim.pass(26 * second);
    const late = { type: "pong", now: sim.time };
    await sim.sleep(2 * hour);
    if (wakes) await sim.wake();
    await socket.says(late);
    assert.equal(refresher.now(), sim.time);
    let token;
    void refresher.token("rtc").then((found) => (token = found), () => {});
    await settle();
    assert.equal(token, undefined);
    await socket.says({ type: "pong", now: sim.time + 500 });
    assert.equal(refresher.now(), sim.time + 500, "forward it may go");
    refresher.leave();
  }
});

test("deadlines are set again by a message with a better clock", async (t) => {
  const sim = new Simulation(t);
  // This message has an outdated `now`, as if it had waited in the socket.
  const { socket } = await sim.live({}, { ttl: 600, renewBefore: 50, now: sim.time - 300 * second });
  await sim.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("a `now` that is no number leaves the clock alone", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  for (const now of [null, "0", "1796040000412", {}, [], true, undefined]) {
    await socket.says({ type: "pong", now });
    assert.equal(refresher.now(), sim.time);
  }
});

test("random numbers, clocks and timers are the platform's", async (t) => {
  for (const [object, name] of [[Math, "random"], [Date, "now"], [performance, "now"], [globalThis, "setTimeout"], [globalThis, "fetch"]]) {
    t.mock.method(object, name, () => assert.fail(`${name} was called`));
  }
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  await sim.resume({ seq: 2 });
  sim.blocked = true;
  await sim.socket.closes(1006);
  refresher.renew();
  await sim.fetches[0].fails();
  await sim.pass(minute);
  refresher.leave();
  sim.assertEmpty();
});

test("the clock follows the steady clock, unless that stood still for over a second", () => {
  for (const [wallMs, steadyMs, want] of [
    [30_000, 30_000, 30_000], [20_000, 30_000, 30_000], [-9_000, 30_000, 30_000], [31_000, 30_000, 30_000], [31_001, 30_000, 31_001], [1_001, 0, 1_001], [1_000, 0, 0], [-5, -5, 0],
  ]) {
    let [wall, steady] = [1_796_040_000_000, 5_000];
    const clock = new Clock({ wallNow: () => wall, steadyNow: () => steady });
    wall += wallMs;
    steady += steadyMs;
    assert.equal(clock.now(), want, `${wallMs} and ${steadyMs}`);
  }
});

test("reading the clock often does not make it faster, however its sources are rounded", () => {
  let ms = 0;
  const clock = new Clock({ wallNow: () => Math.floor(ms + 0.5), steadyNow: () => Math.floor(ms * 10) / 10 });
  for (; ms < 10_000; ms += 0.7) clock.now();
  assert.ok(Math.abs(clock.now() - ms) < 2, `${clock.now() - ms} ms off`);
});
