// An app with the published agora-rtc-sdk-ng and the library, in calls at a simulated edge.

import AgoraRTC from "agora-rtc-sdk-ng";

import { bindRtc } from "../../../web/client/bindings/rtc.js";
import { Refresher } from "../../../web/client/index.js";
import { Edge } from "./agora.js";

AgoraRTC.setLogLevel(4);
globalThis.edge = new Edge();

/** Joins a call with the code of the README. @param {any} options of the Refresher */
globalThis.call = async (options) => {
  const { channel, uid } = options.rtc;
  const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
  const refresher = new Refresher(options);
  const join = async (/** @type {string} */ token) => client.join("0123456789abcdef0123456789abcdef", channel, token, uid);
  bindRtc(refresher, client, { rejoin: join });
  await join(await refresher.token("rtc"));
  return { client, refresher };
};
