// The seats of a call that Agora holds, where the demo has a real App ID: clients
// of Agora's own Web SDK, which comes from Agora's CDN. It stands there without a
// published hash to check it by.

/** @import { Client, Face, Seat } from "./seats.js" */

import { camera } from "./camera.js";
import { Network } from "./network.js";

const sdk = "https://download.agora.io/sdk/release/AgoraRTC_N-4.24.8.js";

/** @typedef {{uid: unknown, videoTrack?: {getMediaStreamTrack(): MediaStreamTrack}}} Remote */

/**
 * The part of agora-rtc-sdk-ng that is used here.
 * @typedef {object} AgoraRTC
 * @property {(level: number) => void} setLogLevel
 * @property {(config: {mode: "rtc", codec: "vp8"}) => AgoraClient} createClient
 * @property {(config: {mediaStreamTrack: MediaStreamTrack}) => unknown} createCustomVideoTrack
 */

/**
 * @typedef {Client & {
 *   localTracks: unknown[],
 *   publish: (track: unknown) => Promise<void>,
 *   unpublish: (track: unknown) => Promise<void>,
 *   subscribe: (user: Remote, kind: string) => Promise<unknown>,
 * }} AgoraClient
 */

/**
 * @param {Face[]} faces two
 * @returns {Promise<Seat[]>}
 */
export async function agoraSeats(faces) {
  const AgoraRTC = await load();
  AgoraRTC.setLogLevel(4); // none: what it has to say, it says in errors too
  const received = new Map(faces.map(({ uid }) => [uid, new MediaStream()]));
  return faces.map(({ name, uid, hue }) => {
    const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
    const video = AgoraRTC.createCustomVideoTrack({ mediaStreamTrack: camera(name, hue) });
    /** @param {Remote} user */
    const streamOf = (user) => (user.uid === uid ? undefined : received.get(Number(user.uid)));
    client.on("user-published", async (/** @type {Remote} */ user, /** @type {string} */ kind) => {
      const stream = streamOf(user);
      if (!stream || kind !== "video") return;
      try {
        await client.subscribe(user, kind);
      } catch {
        return; // gone again; the next publication comes as another event
      }
      for (const old of stream.getTracks()) stream.removeTrack(old);
      if (user.videoTrack) stream.addTrack(user.videoTrack.getMediaStreamTrack());
    });
    return {
      client,
      network: new Network(),
      received: /** @type {MediaStream} */ (received.get(uid)),
      publish: async (role) => {
        const published = client.localTracks.includes(video);
        try {
          if (role === "publisher" && !published) await client.publish(video);
          if (role !== "publisher" && published) await client.unpublish(video);
          return role === "publisher";
        } catch {
          return false; // the token does not allow it, or the call is over
        }
      },
      stop: () => {}, // who leaves is unpublished by the SDK
      refuse: null,
      setAudio: null,
    };
  });
}

/** @returns {Promise<AgoraRTC>} */
function load() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = sdk;
    script.onload = () => resolve(/** @type {any} */ (globalThis).AgoraRTC);
    script.onerror = () => reject(new Error(`Agora's Web SDK cannot be loaded from ${new URL(sdk).host}`));
    document.head.append(script);
  });
}
