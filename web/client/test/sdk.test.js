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

test("it asks once for each bundle", async (t) => {
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

test("a session opened anew is asked of anew", async (t) => {
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

test("tokens that live under the SDK's warning do not go round in a circle", async (t) => {
  const sim = new Simulation(t);
  const { socket } = await inCall(sim, { ttl: 20, renewBefore: 10 });
  for (let seq = 2; seq < 20; seq++) {
    await socket.says(sim.push({ seq, ttl: 20 })); // the SDK warns at once
    await sim.pass(9 * second);
    assert.deepEqual(socket.take(), [{ type: "ack", seq }]);
  }
});

test("the warning goes by the tokens that were applied, not by those that are still on the way into the SDK", async (t) => {
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

test("what is bound by hand reports the same", async (t) => {
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

test("it is joined again only when the SDK has finished with leaving", async (t) => {
  const sim = new Simulation(t);
  const { client } = await inCall(sim);
  client.expires();
  await settle();
  assert.deepEqual(client.taken.map(({ by }) => by), ["join", "join"]);
  assert.equal(sim.saw("refused").length, 0);
});

test("after did-expire without good tokens, it asks, and joins with the answer whatever its action says", async (t) => {
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

test("tokens in their last second are not good enough to join with", async (t) => {
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

test("did-expire while away: it asks over HTTP, and joins with the answer", async (t) => {
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

test("did-expire while a renewal is in the SDK: joins with it", async (t) => {
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

test("a client that joins with a token from elsewhere is handed the newest at once, and does not drop out when its own ends", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await client.join(sim.tokens({ ttl: 120 }).rtc.token);
  await sim.pass(120 * second);
  assert.equal(how(client), "join renew");
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 1 }]);
});

test("a client that was bound in the call, with a token from elsewhere, is joined again when that ends", async (t) => {
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

test("RTM is logged in again after FAILED and TOKEN_EXPIRED, and after nothing else", async (t) => {
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

test("other SDKs only renew when one of them has to join again", async (t) => {
  const sim = new Simulation(t);
  const { refresher, client } = await inCall(sim);
  const other = { renew: t.mock.fn(), rejoin: t.mock.fn() };
  refresher.bind("rtc", other);
  client.expires();
  await settle();
  assert.deepEqual([other.renew.mock.callCount(), other.rejoin.mock.callCount()], [1, 0]);
  assert.equal(how(client), "join join");
});

test("a rejoin that failed is a nack, and the next bundle is joined with", async (t) => {
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

test("an SDK that can't say whether it is in the call has its next tokens renewed, once it was joined again", async (t) => {
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

test("a rejoin that came through after our patience is believed: what follows renews", async (t) => {
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

test("so does a resume with that action", async (t) => {
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

test("and a session opened anew after the tokens ran out", async (t) => {
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

test("a client that says it is still in the call renews instead", async (t) => {
  for (const state of ["CONNECTED", "RECONNECTING"]) {
    const sim = new Simulation(t);
    const { socket, client } = await inCall(sim);
    client.connectionState = state;
    await socket.says(sim.push({ seq: 2, action: "rejoin" }));
    assert.equal(how(client), "join renew", state);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  }
});

test("and is joined again all the same, if it then refuses", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const calls = [];
  refresher.bind("rtc", { renew: () => (calls.push("renew"), Promise.reject({ code: 1 })), rejoin: () => void calls.push("rejoin"), isJoined: () => true });
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(calls, ["renew", "rejoin"]);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("without a function to rejoin, the answer is NO_REJOIN", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, {}, { rejoins: false });
  client.connectionState = "DISCONNECTED"; // and its word of that did not come
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(socket.take().map(({ type, seq, code }) => [type, seq, code]), [["nack", 2, "NO_REJOIN"]]);
  client.expires();
  await settle();
  assert.deepEqual(socket.take().map(({ code }) => code), ["NO_REJOIN"]);
});

test("a renewal that the service did not call rejoin is never one", async (t) => {
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

test("nobody is joined again who was not in the call", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.deepEqual(client.taken, []);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

test("nobody is joined again who has left the call meanwhile", async (t) => {
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
  test(`who left the call for ${reason} is neither renewed nor joined again, and the bundle is acked`, async (t) => {
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

test("others get their tokens meanwhile, and their refusals count", async (t) => {
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

test("who joins again is kept in tokens again, also in those that came meanwhile", async (t) => {
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

test("hanging up while a renewal is in the SDK, or while it joins again, is no refusal, and final", async (t) => {
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

test("a token's end is no hanging up, nor is a rejoin that failed", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.refusal = { code: "NETWORK_ERROR" };
  client.expires();
  await settle();
  client.refusal = null;
  await socket.says(sim.push({ seq: 2 }));
  assert.equal(how(client), "join join");
});

test("who logged out of RTM, or was thrown out, is left alone until logged in again", async (t) => {
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

test("a rejoin of RTM logs out first, which is no wish to be out", async (t) => {
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

test("what is bound by hand can say the same", async (t) => {
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
  test(`${name}: who logged out, or was thrown out, is neither renewed nor logged in again, until they log in`, async (t) => {
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

  test(`${name}: is logged in again after its token ran out`, async (t) => {
    const sim = new Simulation(t);
    const { rtm } = await loggedIn(sim, Client);
    rtm.expires();
    await settle();
    assert.equal(how(rtm), "join join");
  });
}

test("agora-rtm 2.1: a token that ran out while it was reconnecting is told as PRESENCE_NOT_READY", async (t) => {
  const sim = new Simulation(t);
  const { rtm } = await loggedIn(sim, FakeOldRtmClient);
  rtm.expires("PRESENCE_NOT_READY");
  await settle();
  assert.equal(how(rtm), "join join");
});

test("agora-rtm 2.2 has status events too, which count no more once a linkState came", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await loggedIn(sim);
  rtm.says("status", { state: "DISCONNECTED", reason: "LOST" });
  await socket.says(sim.push({ seq: 2, services: ["rtc", "rtm"] }));
  assert.equal(how(rtm), "join renew");
});

test("agora-rtm 2.2.0, which has no reasonCode, is understood by its reason", async (t) => {
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

test("agora-rtm 2.1: nor does a stream channel's status", async (t) => {
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

test("a stream channel's own warning asks, and no other", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await inStreamChannel(sim, t);
  await sim.pass(541 * second);
  rtm.warns();
  rtm.warns("another");
  assert.deepEqual(socket.take(), []);
  rtm.warns("room");
  assert.deepEqual(socket.take(), [{ type: "renew" }]);
});

test("a stream channel is joined again when its own token ran out, and left alone when it was left", async (t) => {
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
    test(`${Client.name}: a login that failed in a rejoin is tried again with the next bundle, also if its event comes after its refusal (${says})`, async (t) => {
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

  test(`${Client.name}: who logs out after a rejoin has failed is left alone`, async (t) => {
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

  test(`${Client.name}: one that logs in with a token from elsewhere is handed the newest, and those that follow`, async (t) => {
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

  test(`${Client.name}: one that was logged out when it was unbound is not brought back when it is bound again`, async (t) => {
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

test("a stream channel that is not the session's is refused, so that no token of another channel reaches it, or the login", async (t) => {
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

test("who is back is handed what came meanwhile after the event that says so, since agora-rtm refuses a stream channel's token in it", async (t) => {
  const sim = new Simulation(t);
  const { socket, rtm } = await inStreamChannel(sim, t);
  rtm.streams("room", "IDLE", "LEAVE");
  await socket.says(sim.push({ seq: 2 }));
  rtm.streams("room", "CONNECTED", "JOIN_SUCCESS");
  assert.deepEqual(rtm.renewedChannels, []);
  await settle();
  assert.equal(rtm.renewedChannels.length, 1);
});

test("who logs in again by themselves is handed what came meanwhile by a renewal, also if that says rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket, rtm } = await loggedIn(sim);
  const token = await refresher.token("rtm");
  await rtm.logout();
  await socket.says(sim.push({ seq: 2, action: "rejoin", services: ["rtc", "rtm"] }));
  await rtm.login(token);
  await settle();
  assert.equal(how(rtm), "join join renew");
});

test("a rejoin whose own token has run out is tried once for each bundle", async (t) => {
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

test("an SDK that goes on calling listeners which were removed moves nothing", async (t) => {
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

test("what is no RTM client is refused in words that say what to do", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ rtm: { userId: "1001" } }, { services: ["rtc", "rtm"] });
  for (const client of [undefined, {}, { renewToken: () => {}, on: () => {} }]) { // the last: agora-rtm 1
    assert.throws(() => bindRtm(refresher, client), (error) => error instanceof TypeError && /agora-rtm 2 .*use bind\(\)/.test(error.message));
  }
});

// Whose SDKs took a bundle.

test("renewed says of which services an SDK took the tokens: of none in the lobby, nor after all have left", async (t) => {
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

test("an SDK whose rejoin returned a negative number is still out, and is joined again with the next bundle", async (t) => {
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

test("no second rejoin begins while one goes on; what came meanwhile is renewed after it", async (t) => {
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

test("what can't be bound throws, and leaves nothing bound", async (t) => {
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

test("token() waits for the first", async (t) => {
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

test("token() is the newest, also one that no SDK has taken yet", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  refresher.bind("rtc", { renew: () => new Promise(() => {}) });
  const push = sim.push({ seq: 2 });
  await refresher.token("rtc");
  await socket.says(push);
  assert.equal(await refresher.token("rtc"), push.tokens.rtc.token);
});

test("token() is never one that has run out: it waits for the next", async (t) => {
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

test("token() goes by the service's clock, not by the device's", async (t) => {
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

test("token() of a service that the call has not is a TypeError", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  await assert.rejects(refresher.token("rtm"), TypeError);
  await assert.rejects(refresher.token("rtx"), TypeError);
});

test("many who wait for a token all get it", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const all = Promise.all(Array.from({ length: 50 }, () => refresher.token("rtc")));
  await sim.join();
  assert.equal(new Set(await all).size, 1);
});

test("an SDK that can't say whether it is in the call, and has no way to rejoin, is handed what others rejoin with", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const renew = t.mock.fn();
  refresher.bind("rtc", { renew });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  assert.equal(renew.mock.callCount(), 1);
  assert.deepEqual(socket.take().at(-1), { type: "ack", seq: 2 });
});

test("an SDK that is bound after a newer bundle came than the one it joined with gets that", async (t) => {
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

test("a token that the SDK quotes is told to nobody, neither in a URL nor as a code", async (t) => {
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
