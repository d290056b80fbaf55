// A page with the published agora-react-uikit, in a call at a simulated edge.

import AgoraRTC from "agora-rtc-sdk-ng";
import AgoraUIKit from "agora-react-uikit";
import { createElement } from "react";
import { createRoot } from "react-dom/client";

import { Edge } from "./agora.js";

AgoraRTC.setLogLevel(4);
globalThis.edge = new Edge();
globalThis.tokens = (count) => globalThis.edge.taken(count);

/** Shows the UIKit. @param {any} rtcProps @param {any} [rtmProps] */
globalThis.show = (rtcProps, rtmProps) => {
  createRoot(/** @type {HTMLElement} */ (document.getElementById("app"))).render(createElement(AgoraUIKit, { rtcProps, rtmProps }));
};
