// SDKs that left the call for another reason than an expired token.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { bindRtm } from "../bindings/rtm.js";
import { FakeRtcClient, FakeRtmClient, Simulation, how, inCall, second, settle } from "./fakes/index.js";

const removed = "UID_BANNED: banned, or another page or device joined with the same uid";
for (const [reason, warned] of [["LEAVE"], ["UID_BANNED", removed], ["UID_CONFLICT", removed.replace("BANNED", "CONFLICT")], ["SERVER_ERROR", "SERVER_ERROR"], ["NETWORK_ERROR", "NETWORK_ERROR"], [undefined]]) {
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
    assert.deepEqual(sim.warnings, warned ? [`@refresher/client: the SDK has left the call (${warned}), and gets no tokens until the app joins again`] : []);
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

// The field `services` of an event has the services whose SDK accepted the bundle.

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
