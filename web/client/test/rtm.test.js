// Bindings of the different RTM clients, and of stream channels.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtm, bindStreamChannel } from "../bindings/rtm.js";
import { FakeNativeRtmClient, FakeOldRtmClient, FakeRtmClient, Simulation, how, second, settle } from "./fakes/index.js";

const kinds = { "agora-rtm 2.2": FakeRtmClient, "agora-rtm 2.1": FakeOldRtmClient, "agora-react-native-rtm 2.2": FakeNativeRtmClient };

/** Opens a live call with an RTM client of that class, logged in. The app's function `rejoin` logs out and in again. */
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

/** Opens a live call with a bound stream channel; another stream channel and the login are open too. */
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
  assert.equal(rtm.renewedChannels.length, 1, "the newest token, which came while it was away");
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
    if (rejoin.mock.callCount() > 10) return; // so that an endless series of rejoins does not hang the test
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
  for (const client of [undefined, {}, { renewToken: () => {}, on: () => {} }]) { // the last of these values has the functions of a client of agora-rtm 1, which bindRtm must refuse too
    assert.throws(() => bindRtm(refresher, client), (error) => error instanceof TypeError && /agora-rtm 2 .*use bind\(\)/.test(error.message));
  }
});
