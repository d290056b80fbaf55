// The two endpoints of a call on Agora's servers, for a demo with a real App ID. They use Agora's own Web SDK
// from Agora's CDN. Agora publishes no hash of the SDK, so the script has no integrity attribute.

/** @import { Client, Endpoint, Profile } from "./endpoint.js" */

import { camera } from "./camera.js";
import { Network } from "./network.js";
import { missingForPictures } from "./support.js";

const sdk = "https://download.agora.io/sdk/release/AgoraRTC_N-4.24.8.js";
const silent = 4; // at this level the SDK logs nothing, and throws the errors that it would otherwise log

/** @typedef {{uid: unknown, videoTrack?: {getMediaStreamTrack(): MediaStreamTrack}}} Remote */

/**
 * The part of agora-rtc-sdk-ng that the demo uses.
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
 * @param {Profile[]} profiles two
 * @returns {Promise<Endpoint[]>}
 */
export async function agoraEndpoints(profiles) {
  const missing = missingForPictures();
  if (missing) throw new Error(`${missing}, and Agora’s Web SDK needs it`);
  const AgoraRTC = await load();
  AgoraRTC.setLogLevel(silent);
  const received = new Map(profiles.map(({ uid }) => [uid, new MediaStream()]));
  return profiles.map((profile) => {
    const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
    receive(client, profile, received);
    const video = AgoraRTC.createCustomVideoTrack({ mediaStreamTrack: camera(profile.name, profile.hue) });
    return {
      client,
      network: new Network(),
      received: received.get(profile.uid) ?? null,
      noPicture: "",
      noSound: "only the stand-in for Agora’s edge carries a tone",
      publish: (role) => publish(client, video, role === "publisher"),
      stop: () => {}, // the SDK stops publishing when it leaves the call
      setRefusing: null,
      setAudio: () => {},
    };
  });
}

/**
 * Adds the other participant's video to the stream that the page shows.
 * @param {AgoraClient} client
 * @param {Profile} profile of the client's own participant
 * @param {Map<number, MediaStream>} received the streams to show, by the sender's uid
 */
function receive(client, profile, received) {
  client.on("user-published", async (/** @type {Remote} */ user, /** @type {string} */ kind) => {
    const stream = user.uid === profile.uid ? undefined : received.get(Number(user.uid));
    if (!stream || kind !== "video") return;
    try {
      await client.subscribe(user, kind);
    } catch (error) {
      // Usually the user has stopped publishing before this point; if the user publishes again, the SDK emits
      // another event. The console shows other causes.
      console.warn(`${profile.name} does not receive the video of ${user.uid}:`, error);
      return;
    }
    for (const old of stream.getTracks()) stream.removeTrack(old);
    if (user.videoTrack) stream.addTrack(user.videoTrack.getMediaStreamTrack());
  });
}

/**
 * Publishes or unpublishes the video; rejects if the token does not allow it.
 * @param {AgoraClient} client
 * @param {unknown} video
 * @param {boolean} on
 */
async function publish(client, video, on) {
  const published = client.localTracks.includes(video);
  if (on && !published) await client.publish(video);
  if (!on && published) await client.unpublish(video);
  return on;
}

/** @returns {Promise<AgoraRTC>} */
function load() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = sdk;
    script.onload = () => resolve(/** @type {any} */ (globalThis).AgoraRTC);
    script.onerror = () => reject(new Error(`Agora’s Web SDK cannot be loaded from ${new URL(sdk).host}`));
    document.head.append(script);
  });
}
