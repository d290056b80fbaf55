// Bundles with the action "rejoin", and the app's function `rejoin`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { FakeRtcClient, Simulation, how, inCall, minute, second, settle } from "./fakes/index.js";

// The action.

test("a rejoin from the service calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { socket, client } = await inCall(sim);
  client.connectionState = "DISCONNECTED"; // the SDK left the call without emitting an event
  const push = sim.push({ seq: 2, action: "rejoin" });
  await socket.says(push);
  assert.deepEqual(client.taken.at(-1), { by: "join", token: push.tokens.rtc.token, expiresAt: push.tokens.rtc.expiresAt });
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  assert.equal(sim.saw("tokens").at(-1).rejoin, true);
});

test("a resume with the action rejoin calls the app's rejoin", async (t) => {
  const sim = new Simulation(t);
  const { client } = await inCall(sim);
  client.connectionState = "DISCONNECTED"; // the SDK left the call without emitting an event
  await sim.resume({ seq: 2, action: "rejoin" });
  assert.equal(how(client), "join join");
  assert.equal(sim.saw("tokens").at(-1).rejoin, true);
});

test("an SDK whose reconnect was refused for its token says TOKEN_EXPIRE alone, and is rejoined", async (t) => {
  const sim = new Simulation(t);
  const { client, socket } = await inCall(sim);
  client.refusal = { code: "UNEXPECTED_RESPONSE" };
  client.leave("TOKEN_EXPIRE");
  await settle();
  assert.deepEqual(socket.take().map(({ type, code }) => [type, code]), [["nack", "UNEXPECTED_RESPONSE"]]);
  client.refusal = null;
  await socket.says(sim.push({ seq: 2, cause: "nack" }));
  assert.equal(how(client), "join join");
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
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
  client.connectionState = "DISCONNECTED"; // the SDK left the call without emitting an event
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
  client.connectionState = "DISCONNECTED"; // the SDK left the call without emitting an event
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

// A call of the function `rejoin` that takes long.

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
  // The last of these values has the functions of a client of react-native-agora, which bindRtc must refuse
  // too.
  for (const client of [undefined, {}, { renewToken: () => 0, addListener: () => {}, registerEventHandler: () => true }]) {
    assert.throws(() => bindRtc(refresher, client), (error) => error instanceof TypeError && /agora-rtc-sdk-ng.*use bind\(\)/.test(error.message));
  }
  assert.throws(() => bindRtc(refresher, { renewToken: () => {} }), TypeError);
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
});

// SDKs without the function `rejoin`, and errors that contain tokens.

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
  await socket.says(push);
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
