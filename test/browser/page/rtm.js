// The page for the scenarios of agora-rtm. There is no simulated edge for this SDK, so the SDK never logs in.
// Instead the page calls the SDK's internal functions, as messages of Agora's edge would, and the SDK emits its
// events. The refusals are the SDK's own.

import AgoraRTM from "agora-rtm";

import { bindRtm, bindStreamChannel } from "../../../web/client/bindings/rtm.js";
import { run } from "./run.js";

const channelName = new URLSearchParams(location.search).get("channel") ?? "";
const old = location.search.includes("2.1"); // agora-rtm 2.1 has no event linkState, so the tests of 2.1 cover only the login

let clients = 0; // counts the clients, so that each has its own user id: the SDK refuses two clients of one user

run(channelName ? "rtc" : "rtm", (taken) => {
  const rtm = /** @type {any} */ (new AgoraRTM.RTM("0123456789abcdef0123456789abcdef", `ana-${++clients}`, /** @type {any} */ ({ logLevel: "none" })));
  let refuses = false;
  const renewToken = rtm.renewToken.bind(rtm);
  rtm.renewToken = async (/** @type {string} */ token, /** @type {any} */ options) => {
    if (refuses) return renewToken(token, options);
    taken.add("renew", token);
  };
  const stream = channelName ? rtm.createStreamChannel(channelName) : null;
  const another = old ? null : rtm.createStreamChannel("weekly").streamChannelImpl;
  /** The SDK's internal object, which emits the events. */
  const own = stream?.streamChannelImpl ?? rtm._rtmImpl;
  const becomes = (/** @type {string} */ state, /** @type {string} */ reason) => {
    if (old) rtm.emit("status", { state: state === "IDLE" ? "DISCONNECTED" : state, reason });
    else if (stream) own._updateLinkState(state, "SERVER_REJECT", reason, "for people");
    else own._updateLinkState(state, "SERVER_REJECT", [], reason, "for people");
    // Another channel changes to the opposite state. The binding must ignore the events of that channel.
    if (state === "CONNECTED") another?._updateLinkState("FAILED", "SERVER_REJECT", "TOKEN_EXPIRED", "for people");
    else another?._updateLinkState("CONNECTED", "JOIN", "JOIN_SUCCESS", "for people");
  };
  return {
    bind(refresher, app) {
      refresher.on("refused", () => (refuses = false));
      return channelName ? bindStreamChannel(refresher, rtm, channelName, app) : bindRtm(refresher, rtm, app);
    },
    async join(token) {
      taken.add("join", token);
      becomes("CONNECTED", "LOGIN_SUCCESS");
    },
    warns: () => (old ? rtm.emit("tokenPrivilegeWillExpire", "") : stream ? own._handleTokenPrivilegeWillExpire() : own._tokenPrivilegeWillExpireHandler([])),
    expires: () => (old || stream ? becomes("FAILED", "TOKEN_EXPIRED") : own._userDropHandler(2)),
    leaves: () => becomes("IDLE", channelName ? "LEAVE" : "LOGOUT"),
    refuses() {
      refuses = true;
      return /^-\d+$/;
    },
  };
});
