// What the SDKs say of their tokens, joining the call again, and token().

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { bindRtm, bindStreamChannel } from "../bindings/rtm.js";
import { EndedError } from "../index.js";
import { FakeNativeRtmClient, FakeOldRtmClient, FakeRtcClient, FakeRtmClient, Simulation, hour, minute, second, settle } from "./fakes/index.js";

/** How the client came to its tokens. */
const how = (client) => client.taken.map(({ by }) => by).join(" ");

/** A live call whose RTC client has joined it; its rejoin joins again. */
async function inCall(sim, joined = {}, { rejoins = true } = {}) {
  const { refresher, socket } = await sim.live({}, joined);
  const client = new FakeRtcClient(sim);
  const rejoin = rejoins ? (token) => client.join(token) : undefined;
  const unbind = bindRtc(refresher, client, { rejoin });
  await client.join(await refresher.token("rtc"));
  return { refresher, socket, client, unbind };
}

// The warning.

test("the SDK's warning sends a renew when the push is late", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 600, renewBefore: 20 });
  await sim.pass(580 * second); // 20 s are left, and the SDK has warned at 30 s
  assert.deepEqual(socket.take(), []);
  client.warns();
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("the SDK's warning does nothing when no push is late yet", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 600, renewBefore: 20 });
  await sim.pass(580 * second - 1);
  client.warns();
  assert.deepEqual(socket.take(), []);
});

test("an SDK's warning is answered by one renew for each bundle", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 40, renewBefore: 20 });
  await sim.pass(21 * second);
  client.warns();
  client.warns();
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await socket.says(sim.push({ seq: 2, ttl: 40 }));
  client.warns();
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  await sim.pass(21 * second);
  client.warns();
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("a session that was opened again gets a renew of its own", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await inCall(sim, { ttl: 600, renewBefore: 50 });
  await sim.pass(560 * second);
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await socket.refuses(4404, "unknown_session");
  await sim.nextSocket();
  const next = await sim.join({ session: "session-2", seq: 1, ttl: 600, renewBefore: 50 });
  next.take();
  await sim.pass(560 * second);
  assert.deepEqual(next.take(), [{ type: "renew" }]);
});

test("tokens with a lifetime below the SDK's warning do not cause a loop of renews", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await inCall(sim, { ttl: 20, renewBefore: 10 });
  for (let seq = 2; seq < 20; seq++) {
    await socket.says(sim.push({ seq, ttl: 20 })); // the SDK warns at once
    await sim.pass(9 * second);
    assert.deepEqual(socket.take(), [{ type: "ack", seq }]);
  }
});

test("the warning counts for the tokens that were applied, not for those that the SDK has not answered yet", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 600, renewBefore: 60 });
  await sim.pass(545 * second);
  client.hangs = true;
  await socket.says(sim.push({ seq: 2 }));
  client.warns();
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("RTM's warning counts for its own token, not for a stream channel's", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"], ttl: 600, renewBefore: 60 });
  const rtm = new FakeRtmClient(sim);
  bindRtm(refresher, rtm);
  await sim.pass(541 * second);
  rtm.warns("a stream channel");
  assert.deepEqual(socket.take(), []);
  rtm.says("tokenPrivilegeWillExpire"); // so does agora-rtm 2.3 in places
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("while away, the warning renews over HTTP", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 600, renewBefore: 20 });
  await sim.pass(582 * second);
  await socket.closes(1006);
  client.warns();
  assert.equal(sim.fetches.length, 1);
});

test("an SDK that is bound by hand reports willExpire and expired", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 60 });
  const rejoin = t.mock.fn();
  const { willExpire, expired } = refresher.bind("rtc", { renew: () => {}, rejoin });
  await sim.pass(541 * second);
  willExpire();
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
  await socket.says(sim.push({ seq: 2 }));
  expired();
  await settle();
  assert.equal(rejoin.mock.callCount(), 1);
});

// The end of a token.

test("after did-expire the call is joined again with the newest tokens, if they are good", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  await sim.pass(3300 * second);
  const push = sim.push({ seq: 2 });
  client.refusal = { code: "TIMEOUT", message: "too late" };
  await socket.says(push);
  client.refusal = null;
  client.expires();
  await settle();
  assert.deepEqual(client.taken.at(-1), { by: "join", token: push.tokens.rtc.token, expiresAt: push.tokens.rtc.expiresAt });
  assert.deepEqual(socket.take().map(({ type, seq }) => [type, seq]), [["nack", 2], ["ack", 2]]);
});

test("rejoin is called only when the SDK has finished leaving", async (t) => {
  const sim = new Simulation(t);
  const { client } = await inCall(sim);
  client.expires();
  await settle();
  assert.deepEqual(client.taken.map(({ by }) => by), ["join", "join"]);
  assert.equal(sim.saw("refused").length, 0);
});

test("after did-expire without valid tokens, the client sends renew, and rejoins with the answer whatever its action", async (t) => {
  for (const action of ["renew", "rejoin"]) {
    const sim = new Simulation(t);
    const { socket, client } = await inCall(sim, { ttl: 60, renewBefore: 0 });
    socket.take();
    await sim.pass(60 * second);
    assert.equal(client.connectionState, "DISCONNECTED");
    assert.ok(socket.take().some(({ type }) => type === "renew"));
    const push = sim.push({ seq: 2, action });
    await socket.says(push);
    assert.deepEqual(client.taken.at(-1), { by: "join", token: push.tokens.rtc.token, expiresAt: push.tokens.rtc.expiresAt }, action);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  }
});

test("tokens in their last second are not used to rejoin", async (t) => {
  for (const [left, taken, sent] of [[1000, "join", [{ type: "renew" }]], [1001, "join join", [{ type: "ack", seq: 1 }]]]) {
    const sim = new Simulation(t);
    const { socket, client } = await inCall(sim, { ttl: 60, renewBefore: 0 });
    await sim.pass(60 * second - left);
    client.expires();
    await settle();
    assert.deepEqual(socket.take(), sent);
    assert.equal(how(client), taken);
  }
});

test("did-expire while away: the client requests tokens over HTTP, and rejoins with the answer", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 60, renewBefore: 0 });
  await sim.pass(59.9 * second);
  await socket.closes(1006);
  await sim.pass(0.1 * second);
  const push = sim.push({ seq: 2 });
  await sim.fetches[0].answers(200, push);
  assert.equal(how(client), "join join");
  assert.equal(client.token, push.tokens.rtc.token);
});

test("did-expire during a renewal: the client rejoins with the new token", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.latency = 2 * second;
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  client.expires();
  await sim.pass(5 * second);
  assert.deepEqual(client.taken.at(-1), { by: "join", token: push.tokens.rtc.token, expiresAt: push.tokens.rtc.expiresAt });
  assert.equal(client.connectionState, "CONNECTED");
  assert.deepEqual([...new Set(socket.take().map(({ type }) => type))], ["ack"]);
});

test("an SDK that joins with a token from elsewhere is renewed at once, and stays in the call when that token expires", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await client.join(sim.tokens({ ttl: 120 }).rtc.token);
  await sim.pass(120 * second);
  assert.equal(how(client), "join renew");
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 1 }]);
});

test("an SDK that was bound while in the call, with a token from elsewhere, is rejoined when that token expires", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  const client = new FakeRtcClient(sim);
  await client.join(sim.tokens({ ttl: 120 }).rtc.token);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await sim.pass(120 * second);
  assert.equal(client.connectionState, "CONNECTED");
  assert.equal(how(client), "join join");
  assert.ok(client.expiresAt > sim.seconds());
});

test("RTM is logged in again after FAILED with TOKEN_EXPIRED, and after no other event", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const rtm = new FakeRtmClient(sim);
  bindRtm(refresher, rtm, { rejoin: (token) => rtm.login(token) });
  await rtm.login(await refresher.token("rtm"));
  rtm.expires("SAME_UID_LOGIN");
  rtm.becomes("CONNECTED", "TOKEN_EXPIRED");
  await settle();
  assert.deepEqual(rtm.taken.map(({ by }) => by), ["join"]);
  rtm.expires();
  await settle();
  assert.deepEqual(rtm.taken.map(({ by }) => by), ["join", "join"]);
});

test("when one SDK has to rejoin, the others are renewed", async (t) => {
  const sim = new Simulation(t);
  const { refresher, client } = await inCall(sim);
  const other = { renew: t.mock.fn(), rejoin: t.mock.fn() };
  refresher.bind("rtc", other);
  client.expires();
  await settle();
  assert.deepEqual([other.renew.mock.callCount(), other.rejoin.mock.callCount()], [1, 0]);
  assert.equal(how(client), "join join");
});

test("a rejoin that failed is a nack, and the next bundle is used for another rejoin", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.refusal = { code: "NETWORK_ERROR", message: "no network" };
  client.expires();
  await settle();
  assert.deepEqual(socket.take(), [{ type: "nack", seq: 1, code: "NETWORK_ERROR", message: "no network" }]);
  client.refusal = null;
  await socket.says(sim.push({ seq: 2, cause: "nack" }));
  assert.equal(how(client), "join join");
  await socket.says(sim.push({ seq: 3 }));
  assert.equal(how(client), "join join renew");
});

test("an SDK without isJoined is renewed after a rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const calls = [];
  const { expired } = refresher.bind("rtc", { renew: () => void calls.push("renew"), rejoin: () => void calls.push("rejoin") });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  expired();
  await settle();
  await socket.says(sim.push({ seq: 3 }));
  assert.deepEqual(calls, ["renew", "rejoin", "renew"]);
});

test("a rejoin that completes after the timeout counts: the next bundle renews", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.latency = 10 * second;
  client.expires();
  await sim.pass(8 * second);
  assert.deepEqual(socket.take().map(({ type, code }) => [type, code]), [["nack", "TIMEOUT"]]);
  await sim.pass(2 * second);
  assert.equal(client.connectionState, "CONNECTED");
  client.latency = 0;
  await socket.says(sim.push({ seq: 2, cause: "nack" }));
  assert.equal(how(client), "join join renew");
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

// The service's word.

test("a rejoin from the service calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.connectionState = "DISCONNECTED"; // and its word of that did not come
  const push = sim.push({ seq: 2, action: "rejoin" });
  await socket.says(push);
  assert.deepEqual(client.taken.at(-1), { by: "join", token: push.tokens.rtc.token, expiresAt: push.tokens.rtc.expiresAt });
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  assert.equal(sim.saw("tokens").at(-1).rejoin, true);
});

test("a resume with the action rejoin calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { client } = await inCall(sim);
  client.connectionState = "DISCONNECTED"; // and its word of that did not come
  await sim.resume({ seq: 2, action: "rejoin" });
  assert.equal(how(client), "join join");
  assert.equal(sim.saw("tokens").at(-1).rejoin, true);
});

test("a resume with the action renew renews", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  const sdk = { renew: t.mock.fn(), rejoin: t.mock.fn() };
  refresher.bind("rtc", sdk);
  await refresher.token("rtc");
  await sim.resume({ seq: 2, action: "renew" });
  assert.deepEqual([sdk.renew.mock.callCount(), sdk.rejoin.mock.callCount()], [1, 0]);
  assert.equal(sim.saw("tokens").at(-1).rejoin, false);
});

test("a session that is opened again after the tokens expired calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 60, renewBefore: 0 });
  await socket.closes(1006);
  await sim.sleep(2 * minute);
  client.connectionState = "DISCONNECTED"; // and its word of that did not come
  await sim.wake();
  await sim.socket.opens();
  await sim.socket.refuses(4404, "unknown_session");
  await sim.nextSocket();
  await sim.join({ session: "session-2" });
  assert.equal(how(client), "join join");
  assert.equal(sim.saw("tokens").at(-1).rejoin, true);
});

test("an SDK that says that it is in the call is renewed, also if the service says rejoin", async (t) => {
  for (const state of ["CONNECTED", "RECONNECTING"]) {
    const sim = new Simulation(t);
    const { socket, client } = await inCall(sim);
    client.connectionState = state;
    await socket.says(sim.push({ seq: 2, action: "rejoin" }));
    assert.equal(how(client), "join renew", state);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  }
});

test("an SDK that says that it is in the call, but refuses the renewal, is rejoined", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const calls = [];
  refresher.bind("rtc", { renew: () => (calls.push("renew"), Promise.reject({ code: 1 })), rejoin: () => void calls.push("rejoin"), isJoined: () => true });
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(calls, ["renew", "rejoin"]);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("without the app's rejoin, the answer is a nack with NO_REJOIN", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, {}, { rejoins: false });
  client.connectionState = "DISCONNECTED"; // and its word of that did not come
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(socket.take().map(({ type, seq, code }) => [type, seq, code]), [["nack", 2, "NO_REJOIN"]]);
  client.expires();
  await settle();
  assert.deepEqual(socket.take().map(({ code }) => code), ["NO_REJOIN"]);
});

test("a bundle without the action rejoin never calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const rejoin = t.mock.fn();
  refresher.bind("rtc", { renew: () => Promise.reject({ code: "INVALID_OPERATION" }), rejoin });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  await socket.says(sim.push({ seq: 3, action: "something newer" }));
  assert.equal(rejoin.mock.callCount(), 0);
  assert.deepEqual(socket.take().map(({ type }) => type), ["nack", "nack"]);
});

test("an SDK that was not in the call is not rejoined", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(client.taken, []);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("an SDK is not rejoined after leave(), close() or unbind()", async (t) => {
  for (const goes of [(refresher) => refresher.leave(), (refresher) => refresher.close(), (refresher, unbind) => unbind()]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    let refuse;
    const rejoin = t.mock.fn();
    const { unbind, expired } = refresher.bind("rtc", { renew: () => new Promise((resolve, reject) => (refuse = reject)), rejoin, isJoined: () => true });
    await socket.says(sim.push({ seq: 2, action: "rejoin" }));
    goes(refresher, unbind);
    refuse({ code: "OPERATION_ABORTED" });
    expired();
    await settle();
    assert.equal(rejoin.mock.callCount(), 0);
    refresher.leave();
    sim.assertEmpty();
  }
});

// Hanging up.

for (const reason of ["LEAVE", "UID_BANNED", "SERVER_ERROR", "NETWORK_ERROR", undefined]) {
  test(`an SDK that left the call for ${reason} is neither renewed nor rejoined, and bundles are acked`, async (t) => {
    const sim = new Simulation(t);
    const { socket, client } = await inCall(sim);
    const renews = t.mock.method(client, "renewToken");
    client.leave(reason);
    client.leave(reason);
    for (const [seq, action] of [[2, "renew"], [3, "rejoin"], [4, "rejoin"]]) await socket.says(sim.push({ seq, action }));
    assert.equal(how(client), "join");
    assert.equal(renews.mock.callCount(), 0);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }, { type: "ack", seq: 4 }]);
    assert.equal(sim.saw("refused").length, 0);
  });
}

test("while one SDK has left, the others are renewed, and their refusals count", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket, client } = await inCall(sim);
  const renew = t.mock.fn();
  refresher.bind("rtc", { renew });
  client.leave();
  await socket.says(sim.push({ seq: 2 }));
  assert.equal(renew.mock.callCount(), 1);
  renew.mock.mockImplementation(() => Promise.reject({ code: "X" }));
  await socket.says(sim.push({ seq: 3 }));
  assert.deepEqual(socket.take().map(({ type, seq }) => [type, seq]), [["ack", 2], ["nack", 3]]);
});

test("an SDK that joins again is renewed again, at once if a bundle came meanwhile", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket, client } = await inCall(sim);
  client.leave();
  const token = await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  await client.join(token);
  await settle();
  assert.equal(how(client), "join join renew");
  await socket.says(sim.push({ seq: 3 }));
  assert.equal(how(client), "join join renew renew");
  client.expires();
  await settle();
  assert.equal(how(client), "join join renew renew join");
  client.leave();
  await client.join(await refresher.token("rtc"));
  await settle();
  assert.equal(how(client), "join join renew renew join join", "with the newest there is nothing to be made up for");
});

test("a hang-up during a renewal or a rejoin is not a refusal, and no rejoin follows", async (t) => {
  for (const action of ["renew", "rejoin"]) {
    const sim = new Simulation(t);
    const { socket, client } = await inCall(sim);
    if (action === "rejoin") client.connectionState = "DISCONNECTED";
    client.latency = 1 * second;
    await socket.says(sim.push({ seq: 2, action }));
    await sim.pass(0.5 * second);
    client.leave();
    client.refusal = { code: "OPERATION_ABORTED" };
    await sim.pass(1 * second);
    client.refusal = null;
    await socket.says(sim.push({ seq: 3, action: "rejoin" }));
    await sim.pass(5 * second);
    assert.equal(how(client), "join", action);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }]);
  }
});

test("neither an expired token nor a failed rejoin counts as a hang-up", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.refusal = { code: "NETWORK_ERROR" };
  client.expires();
  await settle();
  client.refusal = null;
  await socket.says(sim.push({ seq: 2 }));
  assert.equal(how(client), "join join");
});

test("an RTM client that logged out, or was removed, gets no tokens until it is logged in again", async (t) => {
  for (const goes of [(rtm) => rtm.logout(), (rtm) => rtm.expires("SAME_UID_LOGIN")]) {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
    const rtm = new FakeRtmClient(sim);
    bindRtm(refresher, rtm, { rejoin: (token) => rtm.login(token) });
    await rtm.login(await refresher.token("rtm"));
    await goes(rtm);
    for (const [seq, action] of [[2, "renew"], [3, "rejoin"]]) await socket.says(sim.push({ seq, action, services: ["rtc", "rtm"] }));
    assert.equal(how(rtm), "join");
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }]);
    await rtm.login(await refresher.token("rtm"));
    await socket.says(sim.push({ seq: 4, services: ["rtc", "rtm"] }));
    assert.equal(how(rtm), "join join renew");
  }
});

test("the logout at the beginning of a rejoin of RTM is not a hang-up", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const rtm = new FakeRtmClient(sim);
  bindRtm(refresher, rtm, { rejoin: async (token) => (await rtm.logout(), rtm.login(token)) });
  await rtm.login(await refresher.token("rtm"));
  rtm.refusal = { errorCode: -10005, reason: "no" };
  rtm.expires();
  await settle();
  rtm.refusal = null;
  await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
  assert.equal(how(rtm), "join join");
  await socket.says(sim.push({ seq: 3, services: ["rtc", "rtm"] }));
  assert.equal(how(rtm), "join join renew");
});

test("an SDK that is bound by hand reports left and joined", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const renew = t.mock.fn();
  const { left, joined } = refresher.bind("rtc", { renew });
  await refresher.token("rtc");
  left();
  await socket.says(sim.push({ seq: 2 }));
  assert.equal(renew.mock.callCount(), 0);
  joined();
  joined();
  await settle();
  assert.equal(renew.mock.callCount(), 1);
});

// The kinds of RTM clients, and stream channels.

const kinds = { "agora-rtm 2.2": FakeRtmClient, "agora-rtm 2.1": FakeOldRtmClient, "agora-react-native-rtm 2.2": FakeNativeRtmClient };

/** A live call with an RTM client of that kind, logged in; its rejoin logs out and in again. */
async function loggedIn(sim, Client = FakeRtmClient) {
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const rtm = new Client(sim);
  bindRtm(refresher, rtm, { rejoin: async (token) => (await rtm.logout(), rtm.login(token)) });
  await rtm.login(await refresher.token("rtm"));
  return { refresher, socket, rtm };
}

for (const [name, Client] of Object.entries(kinds)) {
  test(`${name}: a client that logged out, or was removed, gets no tokens until the app logs in`, async (t) => {
    for (const goes of [(rtm) => rtm.logout(), (rtm) => rtm.expires("SAME_UID_LOGIN")]) {
      const sim = new Simulation(t);
      const { refresher, socket, rtm } = await loggedIn(sim, Client);
      await goes(rtm);
      for (const [seq, action] of [[2, "renew"], [3, "rejoin"]]) await socket.says(sim.push({ seq, action, services: ["rtc", "rtm"] }));
      assert.equal(how(rtm), "join");
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }]);
      await rtm.login(await refresher.token("rtm"));
      await socket.says(sim.push({ seq: 4, services: ["rtc", "rtm"] }));
      assert.equal(how(rtm), "join join renew");
    }
  });

  test(`${name}: a client whose token expired is logged in again`, async (t) => {
    const sim = new Simulation(t);
    const { rtm } = await loggedIn(sim, Client);
    rtm.expires();
    await settle();
    assert.equal(how(rtm), "join join");
  });
}

test("agora-rtm 2.1: PRESENCE_NOT_READY is a token that expired while the client was reconnecting", async (t) => {
  const sim = new Simulation(t);
  const { rtm } = await loggedIn(sim, FakeOldRtmClient);
  rtm.expires("PRESENCE_NOT_READY");
  await settle();
  assert.equal(how(rtm), "join join");
});

test("agora-rtm 2.2: status events are ignored after the first linkState", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await loggedIn(sim);
  rtm.says("status", { state: "DISCONNECTED", reason: "LOST" });
  await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
  assert.equal(how(rtm), "join renew");
});

test("agora-rtm 2.2.0, without a reasonCode: the reason counts", async (t) => {
  const sim = new Simulation(t);
  const { rtm } = await loggedIn(sim);
  rtm.linkState({ currentState: "FAILED", previousState: "CONNECTED", serviceType: "MESSAGE", reason: "Ticket expired." });
  await settle();
  assert.equal(how(rtm), "join join");
});

for (const [currentState, reasonCode] of [["IDLE", "LEAVE"], ["FAILED", "INVALID_TOKEN"], ["FAILED", "TOKEN_EXPIRED"], ["CONNECTED", "JOIN_SUCCESS"]]) {
  for (const name of ["agora-rtm 2.2", "agora-react-native-rtm 2.2"]) {
    test(`${name}: a stream channel that becomes ${currentState} for ${reasonCode} does nothing to the login`, async (t) => {
      const sim = new Simulation(t);
      const { socket, rtm } = await loggedIn(sim, kinds[name]);
      rtm.streams("room", currentState, reasonCode);
      await settle();
      await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
      assert.equal(how(rtm), "join renew");
      assert.deepEqual(sim.saw("renewed").at(-1).services, ["rtm"]);
      await rtm.logout();
      rtm.streams("room", currentState, reasonCode);
      await socket.says(sim.push({ seq: 3, services: ["rtc", "rtm"] }));
      assert.equal(how(rtm), "join renew", "nor does it bring back who logged out");
    });
  }
}

test("agora-rtm 2.1: a stream channel's status does nothing to the login", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await loggedIn(sim, FakeOldRtmClient);
  rtm.says("status", { channelName: "room", state: "DISCONNECTED", reason: "LEAVE" });
  await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
  assert.equal(how(rtm), "join renew");
});

/** A live call whose stream channel is bound, beside another and the login. */
async function inStreamChannel(sim, t) {
  const { refresher, socket } = await sim.live({ rtc: { channel: "room", account: "ana" } }, { ttl: 600, renewBefore: 60 });
  const rtm = new FakeRtmClient(sim);
  const rejoin = t.mock.fn();
  const unbind = bindStreamChannel(refresher, rtm, "room", { rejoin });
  await refresher.token("rtc");
  return { refresher, socket, rtm, rejoin, unbind };
}

test("a stream channel is renewed by its name", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm, unbind } = await inStreamChannel(sim, t);
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  assert.deepEqual(rtm.renewedChannels, [{ channelName: "room", token: push.tokens.rtc.token }]);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  unbind();
  assert.equal(rtm.listeners, 0);
});

test("a stream channel's own warning sends a renew, and no other", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await inStreamChannel(sim, t);
  await sim.pass(541 * second);
  rtm.warns();
  rtm.warns("another");
  assert.deepEqual(socket.take(), []);
  rtm.warns("room");
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("a stream channel is rejoined when its own token expired, and gets no tokens after it was left", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm, rejoin } = await inStreamChannel(sim, t);
  rtm.streams("another", "FAILED", "TOKEN_EXPIRED");
  rtm.expires();
  await settle();
  assert.equal(rejoin.mock.callCount(), 0);
  rtm.streams("room", "FAILED", "TOKEN_EXPIRED");
  await settle();
  assert.equal(rejoin.mock.callCount(), 1);
  rtm.streams("room", "IDLE", "LEAVE");
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(rtm.renewedChannels, []);
  rtm.streams("room", "CONNECTED", "JOIN_SUCCESS");
  await settle();
  assert.equal(rtm.renewedChannels.length, 1, "in those that came meanwhile");
});

for (const Client of [FakeRtmClient, FakeOldRtmClient, FakeNativeRtmClient]) {
  for (const rejoin of [undefined, () => Promise.reject(new Error("no network"))]) {
    test(`${Client.name}: an app that logs in again itself after the token ran out is renewed after that, ${rejoin ? "though its rejoin failed" : "without a rejoin"}`, async (t) => {
      const sim = new Simulation(t);
      const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
      const rtm = new Client(sim);
      bindRtm(refresher, rtm, { rejoin });
      await rtm.login(await refresher.token("rtm"));
      rtm.expires();
      await settle();
      assert.equal(socket.take().at(-1).code, rejoin ? "Error" : "NO_REJOIN");
      await rtm.login(await refresher.token("rtm"));
      await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
      assert.equal(how(rtm), "join join renew");
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
    });
  }

  for (const says of ["expires", "push"]) {
    test(`${Client.name}: a login that failed in a rejoin is repeated with the next bundle, also if its event comes after its refusal (${says})`, async (t) => {
      const sim = new Simulation(t);
      const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
      const rtm = new Client(sim);
      let up = false;
      bindRtm(refresher, rtm, {
        rejoin: async (token) => {
          await rtm.logout();
          if (!up) throw FakeRtmClient.error("LOGIN_TIMEOUT", "no network");
          await rtm.login(token);
        },
      });
      await rtm.login(await refresher.token("rtm"));
      if (says === "expires") rtm.expires();
      else await socket.says(sim.push({ seq: 2, action: "rejoin", services: ["rtc", "rtm"] }));
      await settle();
      rtm.becomes("FAILED", "LOGIN_TIMEOUT");
      up = true;
      await socket.says(sim.push({ seq: 3, services: ["rtc", "rtm"] }));
      assert.equal(how(rtm), "join join");
      assert.deepEqual(socket.take().map(({ type, seq }) => [type, seq]), [["nack", says === "expires" ? 1 : 2], ["ack", 3]]);
    });
  }

  test(`${Client.name}: a client that logs out after a failed rejoin is not logged in again`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
    const rtm = new Client(sim);
    const rejoin = t.mock.fn(() => Promise.reject(new Error("no network")));
    bindRtm(refresher, rtm, { rejoin });
    await rtm.login(await refresher.token("rtm"));
    rtm.expires();
    await settle();
    await rtm.logout();
    await socket.says(sim.push({ seq: 2, action: "rejoin", services: ["rtc", "rtm"] }));
    assert.equal(rejoin.mock.callCount(), 1);
  });

  test(`${Client.name}: a client that logs in with a token from elsewhere is renewed, at once and later`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
    const rtm = new Client(sim);
    bindRtm(refresher, rtm);
    await rtm.login(sim.tokens({ services: ["rtm"], ttl: 60 }).rtm.token);
    await settle();
    assert.equal(how(rtm), "join renew");
    await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
    assert.equal(how(rtm), "join renew renew");
    assert.deepEqual(sim.saw("renewed").at(-1).services, ["rtm"]);
  });

  test(`${Client.name}: a client that was logged out when it was unbound is not logged in when it is bound again`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
    const rtm = new Client(sim);
    const rejoin = t.mock.fn();
    const unbind = bindRtm(refresher, rtm, { rejoin });
    await rtm.login(await refresher.token("rtm"));
    await rtm.logout();
    unbind();
    bindRtm(refresher, rtm, { rejoin });
    await socket.says(sim.push({ seq: 2, action: "rejoin", services: ["rtc", "rtm"] }));
    assert.equal(rejoin.mock.callCount(), 0);
    await rtm.login(await refresher.token("rtm"));
    await socket.says(sim.push({ seq: 3, services: ["rtc", "rtm"] }));
    assert.equal(how(rtm), "join join renew");
  });
}

test("bindStreamChannel refuses a channel that is not the session's, since the tokens would be another channel's", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ rtc: { channel: "room", account: "ana" } });
  const rtm = new FakeRtmClient(sim);
  for (const channel of ["another", "", undefined, rtm]) {
    assert.throws(() => bindStreamChannel(refresher, rtm, channel), (error) => error instanceof TypeError && /channel/.test(error.message));
  }
  assert.equal(rtm.listeners, 0);
  const everywhere = await new Simulation(t).live({ rtc: { channel: "*", account: "ana" } });
  bindStreamChannel(everywhere.refresher, rtm, "another");
});

test("an SDK that reports joined is renewed after that event, since agora-rtm refuses a stream channel's token during it", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await inStreamChannel(sim, t);
  rtm.streams("room", "IDLE", "LEAVE");
  await socket.says(sim.push({ seq: 2 }));
  rtm.streams("room", "CONNECTED", "JOIN_SUCCESS");
  assert.deepEqual(rtm.renewedChannels, []);
  await settle();
  assert.equal(rtm.renewedChannels.length, 1);
});

test("a client that the app logged in again is renewed, also if the newest bundle says rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket, rtm } = await loggedIn(sim);
  const token = await refresher.token("rtm");
  await rtm.logout();
  await socket.says(sim.push({ seq: 2, action: "rejoin", services: ["rtc", "rtm"] }));
  await rtm.login(token);
  await settle();
  assert.equal(how(rtm), "join join renew");
});

test("a rejoin with a token that has expired is tried once for each bundle", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const rtm = new FakeRtmClient(sim);
  const rejoin = t.mock.fn(async () => {
    if (rejoin.mock.callCount() > 10) return; // it goes round in a circle
    rtm.becomes("FAILED", "TOKEN_EXPIRED");
    throw FakeRtmClient.error("TOKEN_EXPIRED", "its clock is wrong");
  });
  bindRtm(refresher, rtm, { rejoin });
  await rtm.login(await refresher.token("rtm"));
  rtm.expires();
  await settle();
  assert.equal(rejoin.mock.callCount(), 1);
  await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
  assert.equal(rejoin.mock.callCount(), 2);
  assert.deepEqual(socket.take().map(({ type, seq }) => [type, seq]), [["nack", 1], ["nack", 2]]);
});

test("the reports of an SDK that was unbound change nothing", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 60 });
  const other = t.mock.fn();
  refresher.bind("rtc", { renew: other });
  const { willExpire, expired, left, joined, unbind } = refresher.bind("rtc", { renew: () => {}, rejoin: () => {} });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2, ttl: 600 }));
  unbind();
  await sim.pass(541 * second);
  socket.take();
  for (const report of [willExpire, expired, left, joined]) report();
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.equal(other.mock.callCount(), 1);
});

test("bindRtm refuses other objects with an error that says what to do", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  for (const client of [undefined, {}, { renewToken: () => {}, on: () => {} }]) { // the last: agora-rtm 1
    assert.throws(() => bindRtm(refresher, client), (error) => error instanceof TypeError && /agora-rtm 2 .*use bind\(\)/.test(error.message));
  }
});

// Whose SDKs took a bundle.

test("renewed lists the services whose SDK took the tokens: none before the join, and none after all have left", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const client = new FakeRtcClient(sim);
  const rtm = new FakeRtmClient(sim);
  bindRtc(refresher, client);
  bindRtm(refresher, rtm);
  const push = async (seq) => {
    await socket.says(sim.push({ seq, services: ["rtc", "rtm"] }));
    return sim.saw("renewed").at(-1).services;
  };
  assert.deepEqual(sim.saw("renewed")[0].services, [], "at the join");
  assert.deepEqual(await push(2), [], "in the lobby");
  await client.join(await refresher.token("rtc"));
  assert.deepEqual(await push(3), ["rtc"]);
  await rtm.login(await refresher.token("rtm"));
  assert.deepEqual((await push(4)).sort(), ["rtc", "rtm"]);
  await rtm.logout();
  assert.deepEqual(await push(5), ["rtc"]);
  client.leave();
  assert.deepEqual(await push(6), []);
  assert.deepEqual(socket.take().map(({ type }) => type), ["ack", "ack", "ack", "ack", "ack"]);
});

// Negative numbers.

test("a negative number that renew or rejoin returns, or resolves with, is a refusal with that number", async (t) => {
  for (const answer of [-2, Promise.resolve(-2)]) {
    for (const action of ["renew", "rejoin"]) {
      const sim = new Simulation(t);
      const { refresher, socket } = await sim.live();
      const returns = t.mock.fn(() => answer);
      const sdk = { renew: returns, rejoin: returns, isJoined: () => action === "renew" };
      refresher.bind("rtc", sdk);
      await refresher.token("rtc");
      await socket.says(sim.push({ seq: 2, action }));
      assert.deepEqual(socket.take(), [{ type: "nack", seq: 2, code: "-2", message: "the SDK returned -2" }]);
      assert.equal(sim.saw("refused").at(-1).code, "-2");
      returns.mock.mockImplementation(() => 0);
      await socket.says(sim.push({ seq: 3, action }));
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 3 }]);
      assert.equal(returns.mock.callCount(), 2);
    }
  }
});

test("an SDK whose rejoin returned a negative number is rejoined with the next bundle", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const renew = t.mock.fn(() => 0);
  const rejoin = t.mock.fn(() => -17);
  const { expired } = refresher.bind("rtc", { renew, rejoin });
  await refresher.token("rtc");
  expired();
  await settle();
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual([rejoin.mock.callCount(), renew.mock.callCount()], [2, 0]);
});

// A rejoin that takes its time.

test("no second rejoin begins while one is not complete; the next bundle after it renews", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  const calls = [];
  const { expired } = refresher.bind("rtm", {
    renew: () => void calls.push("renew"),
    rejoin: () => (calls.push("rejoin"), new Promise((resolve) => sim.at(sim.time + 20.5 * second, resolve))),
  });
  await refresher.token("rtm");
  expired();
  for (let seq = 2; seq < 6; seq++) {
    await sim.pass(5 * second);
    await socket.says(sim.push({ seq, services: ["rtc", "rtm"] }));
  }
  assert.deepEqual(calls, ["rejoin"]);
  await sim.pass(1 * second);
  socket.take();
  await socket.says(sim.push({ seq: 6, services: ["rtc", "rtm"] }));
  assert.deepEqual(calls, ["rejoin", "renew"]);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 6 }]);
});

test("bindRtc throws for other objects, and leaves nothing bound", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await refresher.token("rtc");
  for (const client of [undefined, {}, { renewToken: () => 0, addListener: () => {}, registerEventHandler: () => true }]) { // the last: react-native-agora
    assert.throws(() => bindRtc(refresher, client), (error) => error instanceof TypeError && /agora-rtc-sdk-ng.*use bind\(\)/.test(error.message));
  }
  assert.throws(() => bindRtc(refresher, { renewToken: () => {} }), TypeError);
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

// token().

test("token() waits for the first bundle", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  let token;
  void refresher.token("rtc").then((first) => (token = first));
  await settle();
  assert.equal(token, undefined);
  const joined = sim.joined();
  await sim.socket.opens();
  await sim.socket.says(joined);
  assert.equal(token, joined.tokens.rtc.token);
});

test("token() resolves with the newest token, also one that no SDK has taken yet", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  refresher.bind("rtc", { renew: () => new Promise(() => {}) });
  const push = sim.push({ seq: 2 });
  await refresher.token("rtc");
  await socket.says(push);
  assert.equal(await refresher.token("rtc"), push.tokens.rtc.token);
});

test("token() never resolves with an expired token: it waits for the next", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 60, renewBefore: 0 });
  await sim.pass(60 * second - 1);
  assert.ok(await refresher.token("rtc"));
  await sim.pass(1);
  let token;
  void refresher.token("rtc").then((next) => (token = next));
  await settle();
  assert.equal(token, undefined);
  const push = sim.push({ seq: 2 });
  await socket.says(push);
  assert.equal(token, push.tokens.rtc.token);
});

test("token() uses the service's clock, not the device's", async (t) => {
  for (const error of [-9 * hour, 9 * hour]) {
    const sim = new Simulation(t);
    sim.wallError = error;
    const { refresher, socket } = await sim.live({}, { ttl: 60, renewBefore: 0 });
    await sim.pass(59 * second);
    assert.ok(await refresher.token("rtc"));
    await sim.pass(2 * second);
    let token;
    void refresher.token("rtc").then((next) => (token = next));
    await settle();
    assert.equal(token, undefined);
    await socket.says(sim.push({ seq: 2 }));
    assert.ok(token);
  }
});

test("token() rejects with an EndedError after the end, and when the end comes while it waits", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const waits = refresher.token("rtc").catch((error) => error);
  await settle();
  await sim.socket.opens();
  await sim.socket.refuses(4403, "forbidden", "rtc.channel: the credential does not grant this");
  for (const error of [await waits, await refresher.token("rtc").catch((late) => late)]) {
    assert.ok(error instanceof EndedError);
    assert.ok(error instanceof Error);
    assert.equal(error.name, "EndedError");
    assert.equal(error.reason, "forbidden");
    assert.equal(error.message, "the session has ended: forbidden (rtc.channel: the credential does not grant this)");
    assert.deepEqual(error.ended, sim.saw("ended")[0]);
  }
});

test("token() after leave rejects, though the tokens would still be good", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  refresher.leave();
  await assert.rejects(refresher.token("rtc"), EndedError);
});

test("token() of a service that is not in the options rejects with a TypeError", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  await assert.rejects(refresher.token("rtm"), TypeError);
  await assert.rejects(refresher.token("rtx"), TypeError);
});

test("all callers that wait for a token get it", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const all = Promise.all(Array.from({ length: 50 }, () => refresher.token("rtc")));
  await sim.join();
  assert.equal(new Set(await all).size, 1);
});

test("an SDK with neither isJoined nor rejoin is renewed, also if the service says rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const renew = t.mock.fn();
  refresher.bind("rtc", { renew });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.equal(renew.mock.callCount(), 1);
  assert.deepEqual(socket.take().at(-1), { type: "ack", seq: 2 });
});

test("an SDK that is bound after a bundle newer than its own came is renewed with it", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  await refresher.token("rtc");
  const push = sim.push({ seq: 2 });
  await socket.says(push); // nobody is bound
  const renew = t.mock.fn();
  refresher.bind("rtc", { renew });
  await settle();
  assert.deepEqual(renew.mock.calls.map((call) => call.arguments), [[push.tokens.rtc.token]]);
});

test("a token that the SDK quotes in its error reaches neither the service nor the app", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const quoted = "007eJxTYBBb%2F8vbSECRETSECRETSECRET";
  refresher.bind("rtc", { renew: () => Promise.reject({ code: quoted, message: `GET https://x/?token=${quoted} failed` }) });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  const told = JSON.stringify([socket.take(), sim.saw("refused")]);
  assert.match(told, /\(token\)/);
  assert.doesNotMatch(told, /SECRET/);
});
