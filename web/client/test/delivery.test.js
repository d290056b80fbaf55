// How bundles are delivered to the SDKs, and the ack or nack of each bundle.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { bindRtm } from "../bindings/rtm.js";
import { FakeRtcClient, FakeRtmClient, Simulation, day, second, settle, token } from "./fakes/index.js";

function manual() {
  const calls = [];
  return { calls, renew: (token) => new Promise((resolve, reject) => void calls.push({ token, resolve, reject })) };
}

/** Opens a live call with SDKs that are bound to services and are in the call. */
async function bound(sim, sdks, options = {}, joined = {}) {
  const { refresher, socket } = await sim.live(options, { services: Object.keys(sdks), ...joined });
  for (const [service, sdk] of Object.entries(sdks)) {
    for (const one of [sdk].flat()) refresher.bind(service, one);
    await refresher.token(service);
  }
  return { refresher, socket };
}

/** Opens a live call whose SDK is a fake client of the RTC SDK. */
async function inCall(sim, bindings = {}) {
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, bindings);
  await client.join(await refresher.token("rtc"));
  return { refresher, socket, client };
}

test("the bundle of a first join is acked, though no SDK gets a token", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const sdk = manual();
  refresher.bind("rtc", sdk);
  const socket = await sim.join();
  assert.deepEqual(socket.sent.slice(1), [{ type: "ack", seq: 1 }]);
  assert.equal(sdk.calls.length, 0);
});

test("acks when the SDK's promise has resolved, and not before", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { socket } = await bound(sim, { rtc: sdk });
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  await sim.pass(7 * second);
  assert.deepEqual(sdk.calls.map(({ token }) => token), [push.tokens.rtc.token]);
  assert.deepEqual(socket.take(), []);
  sdk.calls[0].resolve();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("acks when the SDKs of all services have taken their token", async (t) => {
  const sim = new Simulation(t);
  const [rtc, rtm, chat] = [manual(), manual(), manual()];
  const { socket } = await bound(sim, { rtc, rtm, chat }, { rtm: { userId: "1001" }, chat: { userId: "ana" } });
  const push = sim.push({ seq: 2, services: ["rtc", "rtm", "chat"] });
  await socket.says(push);
  chat.calls[0].resolve();
  rtm.calls[0].resolve();
  await settle();
  assert.deepEqual(socket.take(), []);
  rtc.calls[0].resolve();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  assert.equal(rtm.calls[0].token, push.tokens.rtm.token);
  assert.equal(chat.calls[0].token, push.tokens.chat.token);
});

test("an SDK that answers nothing has accepted", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await bound(sim, { rtc: { renew: () => {} } });
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("nacks when one of several SDKs refused, after all of them have answered", async (t) => {
  const sim = new Simulation(t);
  const [one, other] = [manual(), manual()];
  const { socket } = await bound(sim, { rtc: [one, other] });
  await socket.says(sim.push({ seq: 2 }));
  await socket.says(sim.push({ seq: 3 }));
  one.calls[0].reject(Object.assign(new Error("no"), { code: "X" }));
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.equal(one.calls.length, 1, "nothing side by side with what the other has");
  other.calls[0].resolve();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "nack", seq: 2, code: "X", message: "no" }]);
  assert.equal(other.calls.length, 2);
});

const cycle = {};
cycle.self = cycle;

for (const [what, reason, code, message] of [
  ["a code that is a word", Object.assign(new Error("renew token failed"), { code: "UNEXPECTED_RESPONSE" }), "UNEXPECTED_RESPONSE", "renew token failed"],
  ["a code that is a number", { code: 3, message: "invalid token" }, "3", "invalid token"],
  ["the code 0", { code: 0, message: "odd" }, "0", "odd"],
  ["RTM's errorCode and reason", { error: true, errorCode: -10005, reason: "Invalid token", operation: "renewToken" }, "-10005", "Invalid token"],
  ["an error's name where it has no code", new RangeError("too far"), "RangeError", "too far"],
  ["a text", "just no", "UNKNOWN", "just no"],
  ["nothing at all", undefined, "UNKNOWN", "undefined"],
  ["an object without words", {}, "UNKNOWN", "{}"],
  ["agora-chat's, which is a plain object", { status: false }, "UNKNOWN", '{"status":false}'],
  ["agora-chat's type and message", { type: 28, message: "INVALID_TOKEN" }, "28", "INVALID_TOKEN"],
  ["a message that is an object", { code: 7, message: { status: false, more: [1] } }, "7", '{"status":false,"more":[1]}'],
  ["a code that is an object", { code: { n: 7 }, message: "m" }, '{"n":7}', "m"],
  ["an object without a prototype", Object.assign(Object.create(null), { status: false }), "UNKNOWN", '{"status":false}'],
  ["an object of endless length", { list: Array(9000).fill("x") }, "UNKNOWN", `{"list":[${Array(9000).fill('"x"')}`.slice(0, 256)],
  ["a reason that can't be written as JSON", { errorCode: -10002, reason: cycle }, "-10002", ""],
  ["a code that can't be read", { get code() { throw new Error("no"); }, message: "m" }, "UNKNOWN", "m"],
  ["an empty code", { code: "", message: "m" }, "UNKNOWN", "m"],
  ["a code of endless length", { code: "C".repeat(900), message: "m" }, "C".repeat(64), "m"],
  ["a message of endless length", { code: "C", message: "m".repeat(9000) }, "C", "m".repeat(256)],
]) {
  test(`a nack has the SDK's code and message: ${what}`, async (t) => {
    const sim = new Simulation(t);
    const { socket } = await bound(sim, { rtc: { renew: () => Promise.reject(reason) } });
    await socket.says(sim.push({ seq: 2 }));
    assert.deepEqual(socket.take(), [{ type: "nack", seq: 2, code, message }]);
    assert.deepEqual(sim.saw("refused"), [{ seq: 2, service: "rtc", code, message }]);
  });
}

test("nacks when an SDK throws where it should have promised", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await bound(sim, { rtc: { renew: () => { throw Object.assign(new Error("not now"), { code: "INVALID_OPERATION" }); } } });
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "nack", seq: 2, code: "INVALID_OPERATION", message: "not now" }]);
});

test("an error that cannot be read is a nack, and the next bundle is delivered", async (t) => {
  const sim = new Simulation(t);
  const reasons = [Object.create(null), { get message() { throw new Error("no"); } }, { code: Symbol("code"), message: Symbol("m") }];
  const { socket } = await bound(sim, { rtc: { renew: () => (reasons.length ? Promise.reject(reasons.pop()) : undefined) } });
  for (const seq of [2, 3, 4]) {
    await socket.says(sim.push({ seq }));
    const [{ type, seq: of, code }] = socket.take();
    assert.deepEqual([type, of, typeof code], ["nack", seq, "string"]);
    assert.equal(typeof sim.saw("refused").at(-1).message, "string");
  }
  await socket.says(sim.push({ seq: 5 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 5 }]);
});

test("a nack has no token in it, of either version", async (t) => {
  const sim = new Simulation(t);
  const quoted = token("rtc", 1001, 1);
  const old = `006${"970CA35de60c44645bbae8a215061b33"}${"IAAbc+/=".repeat(12)}`;
  const { socket } = await bound(sim, { rtc: { renew: () => Promise.reject({ code: 1, message: `${"x".repeat(230)} ${quoted} and ${old}!` }) } });
  await socket.says(sim.push({ seq: 2 }));
  assert.equal(socket.take()[0].message, `${"x".repeat(230)} (token) and (token)!`.slice(0, 256));
});

test("an SDK that does not answer for 8 s is a nack with TIMEOUT, and the next bundle is delivered", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { socket } = await bound(sim, { rtc: sdk });
  await socket.says(sim.push({ seq: 2 }));
  await sim.pass(8 * second - 1);
  assert.deepEqual(socket.take(), []);
  await sim.pass(1);
  const [nack] = socket.take();
  assert.deepEqual({ ...nack, message: "" }, { type: "nack", seq: 2, code: "TIMEOUT", message: "" });
  sdk.calls[0].resolve();
  await settle();
  assert.deepEqual(socket.take(), [], "its late answer counts no more");
  await socket.says(sim.push({ seq: 3 }));
  sdk.calls[1].resolve();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 3 }]);
});

test("delivers one bundle at a time, and only the newest of several that wait", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { socket } = await bound(sim, { rtc: sdk });
  const pushes = [2, 3, 4, 5].map((seq) => sim.push({ seq, expiresAt: sim.seconds() + 3600 + seq }));
  for (const push of pushes) await socket.says(push);
  assert.equal(sdk.calls.length, 1);
  sdk.calls[0].resolve();
  await settle();
  assert.deepEqual(sdk.calls.map(({ token }) => token), [pushes[0].tokens.rtc.token, pushes[3].tokens.rtc.token]);
  sdk.calls[1].resolve();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 5 }]);
});

test("ignores a bundle older than the newest", async (t) => {
  const sim = new Simulation(t);
  const sdk = { renew: t.mock.fn(async () => {}) };
  const { socket } = await bound(sim, { rtc: sdk });
  await socket.says(sim.push({ seq: 4 }));
  socket.take();
  for (const seq of [3, 2, 1]) await socket.says(sim.push({ seq }));
  assert.deepEqual(socket.take(), []);
  assert.equal(sdk.renew.mock.callCount(), 1);
});

test("acks the same seq again without another delivery", async (t) => {
  const sim = new Simulation(t);
  const sdk = { renew: t.mock.fn(async () => {}) };
  const { socket } = await bound(sim, { rtc: sdk });
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  await socket.says({ ...push, attempt: 2 });
  await socket.says({ ...push, attempt: 3 });
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 2 }, { type: "ack", seq: 2 }]);
  assert.equal(sdk.renew.mock.callCount(), 1);
  assert.equal(sim.saw("renewed").filter(({ seq }) => seq === 2).length, 1);
  assert.equal(sim.saw("tokens").filter(({ seq }) => seq === 2).length, 1);
});

test("answers the same seq once if it comes again during its delivery", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { socket } = await bound(sim, { rtc: sdk });
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  await socket.says({ ...push, attempt: 2 });
  sdk.calls[0].resolve();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  assert.equal(sdk.calls.length, 1);
});

test("the first bundle again, during its delivery, is answered once", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const client = new FakeRtcClient(sim);
  client.connectionState = "CONNECTED"; // the app joins with a token that is not from the library
  client.latency = 2 * second;
  bindRtc(refresher, client);
  const joined = sim.joined();
  await settle();
  await sim.socket.opens();
  await sim.socket.says(joined);
  await sim.socket.says(sim.push({ seq: 1, expiresAt: joined.tokens.rtc.expiresAt, attempt: 2 }));
  assert.deepEqual(sim.socket.take().slice(1), []);
  await sim.pass(2 * second);
  assert.deepEqual(sim.socket.take(), [{ type: "ack", seq: 1 }]);
  assert.equal(client.taken.length, 1);
});

test("nacks the same seq again if the nack was lost", async (t) => {
  const sim = new Simulation(t);
  const sdk = { renew: t.mock.fn(() => Promise.reject({ code: 1, message: "no" })) };
  const { socket } = await bound(sim, { rtc: sdk });
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  await socket.says({ ...push, attempt: 2 });
  assert.deepEqual(socket.take().map(({ type, seq }) => [type, seq]), [["nack", 2], ["nack", 2]]);
  assert.equal(sdk.renew.mock.callCount(), 1);
});

test("without a connection, the next resume carries the ack", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { socket } = await bound(sim, { rtc: sdk });
  await socket.says(sim.push({ seq: 2 }));
  await socket.closes(1006);
  sdk.calls[0].resolve();
  await sim.pass(1 * second);
  await sim.socket.opens();
  assert.deepEqual(sim.socket.sent.map(({ type, seq }) => [type, seq]), [["resume", 2]]);
});

test("a session opened anew counts from 1 again", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { refresher, socket } = await bound(sim, { rtc: sdk }, {}, { seq: 7 });
  await socket.refuses(4404, "unknown_session");
  await sim.pass(1 * second);
  const joined = sim.joined({ session: "session-2", seq: 1, expiresAt: sim.seconds() + 4000 });
  await sim.socket.opens();
  await sim.socket.says(joined);
  assert.equal(refresher.expiresAt, sim.seconds() + 4000);
  assert.deepEqual(sdk.calls.map(({ token }) => token), [joined.tokens.rtc.token]);
  sdk.calls[0].resolve();
  await settle();
  assert.deepEqual(sim.socket.take().slice(1), [{ type: "ack", seq: 1 }]);
  await sim.resume({ session: "session-2", seq: 2 });
  assert.deepEqual(sim.socket.sent[0], { type: "resume", session: "session-2", key: joined.key, seq: 1, expiresAt: joined.tokens.rtc.expiresAt });
});

test("an SDK's answer to a bundle of the previous session does not ack one of the new session", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { socket } = await bound(sim, { rtc: sdk });
  await socket.says(sim.push({ seq: 2 }));
  await socket.refuses(4404, "unknown_session");
  await sim.pass(1 * second);
  const joined = sim.joined({ session: "session-2", seq: 3 });
  await sim.socket.opens();
  await sim.socket.says(joined);
  sim.socket.take();
  sdk.calls[0].resolve();
  await settle();
  assert.deepEqual(sim.socket.take(), []);
  assert.equal(sdk.calls[1].token, joined.tokens.rtc.token);
  sdk.calls[1].reject({ code: 1, message: "no" });
  await settle();
  assert.deepEqual(sim.socket.take(), [{ type: "nack", seq: 3, code: "1", message: "no" }]);
});

test("delivers nothing to an SDK that has not joined, and acks", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  const sdk = manual();
  bindRtc(refresher, client);
  refresher.bind("rtc", sdk);
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  assert.equal(sdk.calls.length, 0);
  assert.deepEqual(client.taken, []);
});

test("delivers renewals from token() on, and an SDK that has not joined yet refuses them", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client);
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take().map(({ type, code }) => [type, code]), [["nack", "INVALID_OPERATION"]]);
});

test("token() of one service does not start deliveries to the others", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const [rtc, rtm] = [{ renew: t.mock.fn() }, { renew: t.mock.fn() }];
  refresher.bind("rtc", rtc);
  refresher.bind("rtm", rtm);
  await refresher.token("rtm");
  await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
  assert.deepEqual([rtc.renew.mock.callCount(), rtm.renew.mock.callCount()], [0, 1]);
});

test("delivers renewals to a client that is in the call with a token from elsewhere", async (t) => {
  for (const state of ["CONNECTED", "RECONNECTING"]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    const client = new FakeRtcClient(sim);
    client.connectionState = state;
    bindRtc(refresher, client);
    await socket.says(sim.push({ seq: 2 }));
    assert.equal(client.taken.length, 1, state);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  }
});

test("an app that is in the call before the first bundle has it renewed, not joined again", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const client = new FakeRtcClient(sim);
  client.connectionState = "CONNECTED";
  client.refusal = { code: "UNEXPECTED_RESPONSE", message: "110" };
  const rejoin = t.mock.fn();
  bindRtc(refresher, client, { rejoin });
  const socket = await sim.join();
  assert.deepEqual(socket.sent.at(-1), { type: "nack", seq: 1, code: "UNEXPECTED_RESPONSE", message: "110" });
  assert.equal(rejoin.mock.callCount(), 0);
  assert.deepEqual(sim.saw("tokens").map(({ rejoin }) => rejoin), [false]);
});

test("an RTC and an RTM client each get the token of their service", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const [client, rtm] = [new FakeRtcClient(sim), new FakeRtmClient(sim)];
  bindRtc(refresher, client);
  bindRtm(refresher, rtm);
  await client.join(await refresher.token("rtc"));
  await rtm.login(await refresher.token("rtm"));
  const push = sim.push({ seq: 2, services: ["rtc", "rtm"] });
  await socket.says(push);
  assert.equal(client.token, push.tokens.rtc.token);
  assert.equal(rtm.token, push.tokens.rtm.token);
  await socket.says(sim.push({ seq: 3, services: ["rtc", "rtm"], uid: 7 }));
  assert.deepEqual(socket.take().map(({ type }) => type), ["ack", "nack"]);
});

test("renewed has the SDK's time and the remaining lifetime of the previous tokens", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  const first = { seq: 1, cause: "join", attempt: 1, rejoin: false, expiresAt: sim.seconds() + 3600, via: "socket" };
  assert.deepEqual(sim.saw("tokens"), [first]);
  assert.deepEqual(sim.saw("renewed"), [{ ...first, services: [], marginMs: Infinity, tookMs: 0 }]);
  await sim.pass(3300 * second);
  client.latency = 400;
  const push = sim.push({ seq: 2, cause: "role", attempt: 2 });
  await socket.says(push);
  await sim.pass(1 * second);
  const second_ = { seq: 2, cause: "role", attempt: 2, rejoin: false, expiresAt: push.tokens.rtc.expiresAt, via: "socket" };
  assert.deepEqual(sim.saw("tokens")[1], second_);
  assert.deepEqual(sim.saw("renewed")[1], { ...second_, services: ["rtc"], marginMs: 300 * second - 400, tookMs: 400 });
  await sim.resume({ seq: 3 });
  assert.equal(sim.saw("tokens")[2].cause, "resume");
});

test("the margin of tokens that had expired is below 0", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live({}, { ttl: 60, renewBefore: 30 });
  await sim.socket.closes(1006);
  await sim.sleep(90 * second);
  await sim.wake();
  await sim.join({ seq: 2, action: "rejoin" });
  assert.equal(sim.saw("renewed")[1].marginMs, -30 * second);
  assert.equal(refresher.state, "live");
});

test("a bundle expires with the first of its tokens", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const early = sim.seconds() + 100;
  await socket.says({ ...sim.push({ seq: 2 }), tokens: { ...sim.tokens(), ...sim.tokens({ services: ["rtm"], expiresAt: early }) } });
  assert.equal(refresher.expiresAt, early);
});

test("an SDK that was unbound gets no more tokens, not even one that was queued", async (t) => {
  const sim = new Simulation(t);
  const sdk = manual();
  const { refresher, socket } = await sim.live();
  const { unbind } = refresher.bind("rtc", sdk);
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  await socket.says(sim.push({ seq: 3 }));
  unbind();
  sdk.calls[0].resolve();
  await settle();
  assert.equal(sdk.calls.length, 1);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }]);
});

test("unbinding a client removes its listeners", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const [client, rtm] = [new FakeRtcClient(sim), new FakeRtmClient(sim)];
  const unbinds = [bindRtc(refresher, client), bindRtm(refresher, rtm)];
  assert.deepEqual([client.listeners, rtm.listeners], [3, 3]);
  await client.join(await refresher.token("rtc"));
  for (const unbind of [...unbinds, ...unbinds]) unbind();
  assert.deepEqual([client.listeners, rtm.listeners], [0, 0]);
  await socket.says(sim.push({ seq: 2 }));
  assert.equal(client.taken.length, 1);
  refresher.leave();
});

test("a client that replaces one that hung up gets nothing until token() was called", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const one = new FakeRtcClient(sim);
  const unbind = bindRtc(refresher, one);
  await one.join(await refresher.token("rtc"));
  await socket.says(sim.push({ seq: 2 }));
  unbind();
  one.leave();
  socket.take();
  const two = new FakeRtcClient(sim);
  bindRtc(refresher, two);
  await socket.says(sim.push({ seq: 3 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 3 }]);
  assert.equal(sim.saw("refused").length, 0);
  await two.join(await refresher.token("rtc"));
  unbind(); // a second call of unbind must not affect the new binding
  await socket.says(sim.push({ seq: 4 }));
  assert.deepEqual(two.taken.map(({ by }) => by), ["join", "renew"]);
});

test("a client in the call that is bound again gets the newest token", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  const unbind = bindRtc(refresher, client);
  await client.join(await refresher.token("rtc"));
  unbind();
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  assert.equal(client.taken.length, 1);
  bindRtc(refresher, client);
  await settle();
  assert.deepEqual(client.taken.slice(1).map(({ by, token }) => [by, token]), [["renew", push.tokens.rtc.token]]);
});

test("an SDK without isJoined that is unbound and bound again is renewed", async (t) => {
  const services = ["rtc", "rtm"];
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services });
  const [rtm, sdk] = [new FakeRtmClient(sim), { renew: t.mock.fn() }];
  const unbinds = [bindRtm(refresher, rtm), refresher.bind("rtc", sdk).unbind];
  await rtm.login(await refresher.token("rtm"));
  await refresher.token("rtc");
  for (const unbind of unbinds) unbind(); // React's StrictMode, too, unbinds each SDK and binds it again
  bindRtm(refresher, rtm);
  refresher.bind("rtc", sdk);
  const pushes = [2, 3].map((seq) => sim.push({ seq, services, ttl: 3600 + seq }));
  for (const push of pushes) await socket.says(push);
  assert.deepEqual(rtm.taken.slice(1).map(({ by, token }) => [by, token]), pushes.map(({ tokens }) => ["renew", tokens.rtm.token]));
  assert.deepEqual(sdk.renew.mock.calls.map((call) => call.arguments), pushes.map(({ tokens }) => [tokens.rtc.token]));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }]);
});

test("an SDK that always refuses does not cause new bundles without end for the others", async (t) => {
  const sim = new Simulation(t);
  const refuses = { renew: t.mock.fn(() => Promise.reject({ code: -10002, message: "not logged in" })) };
  const { socket } = await bound(sim, { rtc: { renew: () => {} }, rtm: refuses }, { rtm: { userId: "1001" } });
  for (let seq = 2; seq < 7; seq++) await socket.says(sim.push({ seq, services: ["rtc", "rtm"] }));
  assert.deepEqual(socket.take().map(({ type, seq }) => `${type} ${seq}`), ["nack 2", "nack 3", "nack 4", "ack 5", "ack 6"]);
  assert.deepEqual(sim.saw("refused").map(({ seq }) => seq), [2, 3, 4, 5, 6], "the app hears of each");
  refuses.renew.mock.mockImplementationOnce(() => {});
  for (const seq of [7, 8]) await socket.says(sim.push({ seq, services: ["rtc", "rtm"] }));
  assert.deepEqual(socket.take().map(({ type, seq }) => `${type} ${seq}`), ["ack 7", "nack 8"], "it is given a chance again");
});

test("an SDK that is alone and always refuses is a nack each time", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await bound(sim, { rtc: { renew: () => Promise.reject({ code: 1 }) } });
  for (let seq = 2; seq < 12; seq++) await socket.says(sim.push({ seq }));
  assert.ok(socket.take().every(({ type }) => type === "nack"));
});

test("an SDK of a service that is not in the options cannot be bound", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  assert.throws(() => refresher.bind("rtm", { renew: () => {} }), TypeError);
  assert.throws(() => bindRtm(refresher, new FakeRtmClient(sim)), TypeError);
  assert.throws(() => refresher.bind("video", { renew: () => {} }), TypeError);
});

test("bind throws for an object without renew", async (t) => {
  const { refresher } = await new Simulation(t).live();
  for (const sdk of [undefined, null, {}, { rejoin: () => {} }]) {
    assert.throws(() => refresher.bind("rtc", sdk), (error) => error instanceof TypeError && /renew\(token\)/.test(error.message));
  }
});

test("the methods of an SDK are called as methods", async (t) => {
  class Sdk {
    calls = [];
    renew() {
      this.calls.push("renew");
    }
    rejoin() {
      this.calls.push("rejoin");
    }
    isJoined() {
      return this.calls.length === 0;
    }
    listen() {
      this.calls.push("listen");
    }
  }
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const sdk = new Sdk();
  refresher.bind("rtc", sdk);
  sdk.calls.length = 0;
  await socket.says(sim.push({ seq: 2 }));
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 3, action: "rejoin" }));
  assert.deepEqual(sdk.calls, ["renew", "rejoin"]);
});

test("tokens of 24 h are requested when a push is overdue, like any others", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await sim.live({}, { ttl: day / second, heartbeat: 1000 });
  await sim.pass(day - 241 * second);
  assert.deepEqual(socket.take(), []);
  await sim.pass(2 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});
