// The bindings, tested with the JavaScript code of Agora's SDKs for React Native and Electron; only the SDKs'
// native part is simulated (native-part.js).

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindEngine } from "../../web/client/bindings/native.js";
import { bindRtm, bindStreamChannel } from "../../web/client/bindings/rtm.js";
import { conformance, registered } from "../../web/client/test/conformance.js";
import { Simulation, second, settle } from "../../web/client/test/fakes/index.js";
import { tested } from "../../web/client/test/sdks.js";
import { Taken } from "../../web/client/test/scenarios.js";
import { Engine, reasons, states } from "./engine.js";
import { load } from "./native-part.js";

globalThis.__DEV__ = false;
console.log = () => {}; // agora-react-native-rtm logs each of its requests, which nobody needs to read

for (const name of ["react-native-agora", "agora-electron-sdk"]) {
  for (const ex of [false, true]) conformance(`${name}, ${ex ? "joinChannelEx" : "joinChannel"}`, "rtc", (taken) => openEngine(name, ex, taken));
}
for (const channelName of ["", "daily"]) {
  conformance(`agora-react-native-rtm, ${channelName ? "stream channel" : "login"}`, channelName ? "rtc" : "rtm", (taken) => openRtm(channelName, taken));
}
test("agora-react-native-rtm, unbound: its events do nothing, though it goes on calling listeners that were removed", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ rtc: undefined, rtm: { userId: "ana" } }, { services: ["rtm"], ttl: 600, renewBefore: 60 });
  const taken = new Taken();
  const rtm = openRtm("", taken);
  const rejoin = t.mock.fn(async () => {});
  const unbind = rtm.bind(refresher, { rejoin });
  await rtm.join(await refresher.token("rtm"));
  unbind();
  socket.take();
  await sim.pass(541 * second);
  rtm.warns();
  rtm.expires();
  await settle();
  assert.deepEqual([socket.take(), rejoin.mock.callCount()], [[], 0]);
});

tested(import.meta.url, registered);

/**
 * Opens an engine that has joined the call by joinChannel, or by joinChannelEx if ex is set. Another connection
 * of the engine stays open.
 */
function openEngine(name, ex, taken) {
  const connection = { channelId: "daily", localUid: 1001 };
  const another = { channelId: "weekly", localUid: 1002 };
  const engine = new Engine(name, ex ? another : connection);
  const answer = engine.native.oncall;
  let inCall = false;
  const becomes = (state, reason) => {
    inCall = state === states.connected;
    engine.becomes(connection, state, reason);
    engine.becomes(another, inCall ? states.failed : states.connected, reasons.joined);
  };
  engine.native.oncall = (method, params) => {
    const joins = /^joinChannel/.test(method);
    if (!joins && method !== "renewToken" && method !== "updateChannelMediaOptionsEx") return;
    if (!inCall) becomes(states.connected, reasons.joined);
    taken.add(joins ? "join" : "renew", params.token ?? params.options.token);
    answer(method, params);
  };
  return {
    bind(refresher) {
      refresher.on("refused", () => engine.native.refusals.clear());
      return bindEngine(refresher, engine.sdk, connection, { ex });
    },
    async join(token) {
      if (ex) engine.sdk.joinChannelEx(token, connection, {});
      else engine.sdk.joinChannel(token, connection.channelId, connection.localUid, {});
    },
    warns: () => engine.says("onTokenPrivilegeWillExpire", connection, { token: "007" }),
    expires() {
      // The SDK does not document the order of these two events, so the tests use both orders.
      if (!ex) becomes(states.failed, reasons.tokenExpired);
      engine.says("onRequestToken", connection);
      if (ex) becomes(states.disconnected, reasons.tokenExpired);
    },
    leaves: () => becomes(states.disconnected, reasons.left),
    refuses: () => String((engine.returns = -110)),
  };
}

/** Opens a client, and binds its login or one of its stream channels. */
function openRtm(channelName, taken) {
  const { sdk, native } = load("agora-react-native-rtm");
  const { RtmLinkState: states, RtmLinkStateChangeReason: reasons, RtmServiceType: services } = sdk;
  const rtm = sdk.createAgoraRtmClient(new sdk.RtmConfig({ appId: "0".repeat(32), userId: "ana" }));
  rtm.release(); // removes the listeners of an earlier test
  const says = (currentState, reasonCode, channel) => native.says("RtmEventHandler_onLinkStateEvent_0", { event: {
    currentState, previousState: states.connected, serviceType: channel ? services.stream : services.message, reasonCode, affectedChannels: channel ? [channel] : [],
  } });
  const linkState = (currentState, reasonCode) => {
    says(currentState, reasonCode, channelName);
    // The binding must ignore events about another channel, and about the login if a channel is bound.
    const [state, reason] = currentState === states.connected ? [states.failed, reasons.tokenExpired] : [states.connected, reasons.loginSuccess];
    for (const channel of ["", "daily", "weekly"]) if (channel !== channelName) says(state, reason, channel);
  };
  let refusal = 0;
  let stream;
  native.oncall = (method, { token, options }, requestId) => {
    const result = /^(login|renewToken|join)$/.exec(method)?.[0];
    if (!result) return;
    const event = `on${result[0].toUpperCase()}${result.slice(1)}Result`;
    const errorCode = refusal;
    refusal = 0;
    if (!errorCode && method !== "renewToken") linkState(states.connected, reasons.loginSuccess);
    native.says(`RtmEventHandler_${event}_0`, { requestId, errorCode, channelName });
    if (!errorCode) taken.add(method === "renewToken" ? "renew" : "join", token ?? options.token);
  };
  return {
    bind: (refresher, app) => (channelName ? bindStreamChannel(refresher, rtm, channelName, app) : bindRtm(refresher, rtm, app)),
    async join(token) {
      if (!channelName) return rtm.login({ token });
      stream ??= await rtm.createStreamChannel(channelName);
      return stream.join({ token });
    },
    warns: () => native.says("RtmEventHandler_onTokenPrivilegeWillExpire_0", { channelName }),
    expires: () => linkState(states.failed, reasons.tokenExpired),
    leaves: () => linkState(states.idle, channelName ? reasons.leave : reasons.logout),
    refuses: () => String((refusal = -10005)),
  };
}
