// An app with the published agora-rtc-react and the hook from the library's README, in a call at a simulated
// edge.

import AgoraRTC, { AgoraRTCProvider } from "agora-rtc-react";
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import { useRefreshedJoin } from "readme:agora-rtc-react";

import { Edge } from "./agora.js";

AgoraRTC.setLogLevel(4);
globalThis.edge = new Edge();
globalThis.tokens = (count) => globalThis.edge.taken(count);

const root = createRoot(/** @type {HTMLElement} */ (document.getElementById("app")));
const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });

/** @param {{args: Parameters<typeof useRefreshedJoin>}} props */
function Call({ args }) {
  useRefreshedJoin(...args);
  return null;
}

/** Shows a component that joins the call. @param {Parameters<typeof useRefreshedJoin>} args */
globalThis.show = (...args) => root.render(createElement(AgoraRTCProvider, { client, children: createElement(Call, { args }) }));
globalThis.hide = () => root.unmount();
