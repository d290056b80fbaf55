// The page for the scenarios of agora-rtc-react: a component joins with the SDK's hooks, in calls at a
// simulated edge.

import AgoraRTC, { AgoraRTCProvider, useJoin, useRTCClient } from "agora-rtc-react";
import { createElement, useEffect } from "react";
import { createRoot } from "react-dom/client";

import { bindRtc } from "../../../web/client/bindings/rtc.js";
import { Edge, events } from "./agora.js";
import { run } from "./run.js";

AgoraRTC.setLogLevel(4);
const appid = "0123456789abcdef0123456789abcdef";
const edge = new Edge();

/**
 * A component that is in the call while its token is set.
 * @param {{token: string | null, onclient: (client: any) => void}} props
 */
function Call({ token, onclient }) {
  const client = useRTCClient();
  useEffect(() => onclient(client), [client]);
  useJoin(async () => ({ appid, channel: "daily", uid: 1001, token }), token !== null);
  return null;
}

run("rtc", async (taken, t) => {
  edge.ontoken = (how, token) => taken.add(how, token);
  const provided = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
  const root = createRoot(document.createElement("div"));
  t.after(() => root.unmount());
  /** Renders the component with the token. Resolves with the client that the SDK's hook returns. */
  const render = (/** @type {string | null} */ token) => new Promise((resolve) => {
    root.render(createElement(AgoraRTCProvider, { client: provided, children: createElement(Call, { key: String(token), token, onclient: resolve }) }));
  });
  const becomes = (/** @type {string} */ state) => new Promise((resolve) => {
    client.on("connection-state-change", function look(/** @type {string} */ now) {
      if (now !== state) return;
      client.off("connection-state-change", look);
      resolve(undefined);
    });
  });
  const client = await render(null);
  return {
    bind(refresher) {
      refresher.on("refused", () => (edge.refuses = 0));
      return bindRtc(refresher, client, { rejoin: (token) => client.join(appid, "daily", token, 1001) });
    },
    async join(token) {
      const connected = becomes("CONNECTED");
      await render(token);
      await connected;
    },
    async leaves() {
      const left = becomes("DISCONNECTED");
      await render(null);
      await left;
    },
    ...events(edge, client),
  };
});
