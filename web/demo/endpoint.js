// The two endpoints of a call at the simulated Agora edge. They send their pictures and tones by WebRTC within
// this page, if the browser supports it.

/** @import { RtcClient } from "./client/bindings/rtc.js" */

import { camera } from "./camera.js";
import { createClient } from "./client/testing.js";
import { MediaEndpoint, connect } from "./media.js";
import { Network } from "./network.js";
import { missingForPictures, missingForSound } from "./support.js";

/**
 * The members of an SDK's client that a participant uses.
 * @typedef {RtcClient & {join: (appId: string, channel: string, token: string, uid: number) => Promise<unknown>, leave: () => Promise<unknown>}} Client
 */

/**
 * One person's SDK client, network and media.
 * @typedef {object} Endpoint
 * @property {Client} client
 * @property {Network} network
 * @property {MediaStream | null} received the pictures and the sound that the other person receives from this person; null if there are none
 * @property {string} noPicture why no picture can be shown; empty if one can
 * @property {string} noSound why there is no tone; empty if there is one
 * @property {(role: string) => Promise<boolean>} publish sends the picture if the token allows it, and resolves with whether it does; rejects with the SDK's reason
 * @property {() => void} stop stops sending the picture
 * @property {((on: boolean) => void) | null} setRefusing has the SDK refuse renewals; null if this SDK cannot do that
 * @property {(track: MediaStreamTrack | null) => void} setAudio
 */

/** @typedef {{name: string, uid: number, hue: number}} Profile */

/**
 * @param {Profile[]} profiles of two people
 * @param {(why: string) => void} failed is called if the pictures fail later
 * @returns {Promise<Endpoint[]>}
 */
export async function localEndpoints(profiles, failed) {
  const noSound = missingForSound();
  let noPicture = missingForPictures();
  /** @type {MediaEndpoint[]} */
  let media = [];
  if (!noPicture || !noSound) {
    try {
      media = profiles.map(({ name, hue }) => new MediaEndpoint(noPicture ? null : camera(name, hue)));
      const [one, other] = media;
      if (one && other) await connect(one, other, mediaFailed);
    } catch (error) {
      noPicture ||= `WebRTC does not start in this browser (${error instanceof Error ? error.message : error})`;
    }
  }
  const endpoints = profiles.map((_, i) => localEndpoint(media[i], noPicture, noSound));
  /** @param {string} why */
  function mediaFailed(why) {
    for (const endpoint of endpoints) endpoint.noPicture = why;
    failed(why);
  }
  return endpoints;
}

/**
 * @param {MediaEndpoint | undefined} media
 * @param {string} noPicture
 * @param {string} noSound
 * @returns {Endpoint}
 */
function localEndpoint(media, noPicture, noSound) {
  const network = new Network();
  const client = createClient(new URL(".", document.baseURI).href, network.platform);
  return {
    client,
    network,
    received: media?.received ?? null,
    noPicture,
    noSound,
    publish: async () => {
      media?.setSending(client.mayPublish);
      return client.mayPublish;
    },
    stop: () => media?.setSending(false),
    setRefusing: (on) => {
      client.refusing = on;
    },
    setAudio: (track) => media?.setAudio(track),
  };
}
