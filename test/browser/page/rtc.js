// The page for the scenarios of the published agora-rtc-sdk-ng, in calls at a simulated edge.

import AgoraRTC from "agora-rtc-sdk-ng";

import { bindRtc } from "../../../web/client/bindings/rtc.js";
import { Edge, events } from "./agora.js";
import { run } from "./run.js";

AgoraRTC.setLogLevel(4);
const appId = "0123456789abcdef0123456789abcdef";

const edge = new Edge();

run("rtc", (taken, t) => {
  const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
  t.after(() => client.leave());
  edge.ontoken = (how, token) => taken.add(how, token);
  return {
    bind(refresher, app) {
      refresher.on("refused", () => (edge.refuses = 0));
      return bindRtc(refresher, client, app);
    },
    join: (token) => client.join(appId, "daily", token, 1001),
    leaves: () => client.leave(),
    ...events(edge, client),
  };
});
