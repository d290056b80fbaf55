// SDKs whose token expires soon, or has expired.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { bindRtm } from "../bindings/rtm.js";
import { FakeRtcClient, FakeRtmClient, Simulation, how, inCall, second, settle } from "./fakes/index.js";

// The warning.

test("the SDK's warning sends a renew when the push is late", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim, { ttl: 600, renewBefore: 20 });
  await sim.pass(580 * second); // now the tokens have 20 s left; the SDK warned when they had 30 s left
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
    await socket.says(sim.push({ seq, ttl: 20 })); // the SDK warns at once, because its new token has only 20 s left
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
  rtm.says("tokenPrivilegeWillExpire"); // agora-rtm 2.3 sometimes emits the login's event without a channel name
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

// An SDK whose token expires.

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
