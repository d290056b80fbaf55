// The seats of a call that is held by the stand-in for Agora's edge.

/** @import { RtcClient } from "./client/bindings/rtc.js" */

import { camera } from "./camera.js";
import { StandIn } from "./edge.js";
import { Network } from "./network.js";
import { End, connect } from "./wire.js";

/**
 * An SDK's client as a participant uses it.
 * @typedef {RtcClient & {join: (appId: string, channel: string, token: string, uid: number) => Promise<unknown>, leave: () => Promise<unknown>}} Client
 */

/**
 * One person's place in the call.
 * @typedef {object} Seat
 * @property {Client} client
 * @property {Network} network
 * @property {MediaStream} received what the other side receives of this person
 * @property {(role: string) => Promise<boolean>} publish sends the picture, if the token allows it: whether it does
 * @property {() => void} stop sends nothing
 * @property {((on: boolean) => void) | null} refuse has the SDK refuse renewals; null: this one cannot be told to
 * @property {((track: MediaStreamTrack | null) => void) | null} setAudio null: there is no tone
 */

/** @typedef {{name: string, uid: number, hue: number}} Face */

/**
 * @param {Face[]} faces two
 * @param {() => void} dark is called if no picture comes through
 * @returns {Promise<Seat[]>}
 */
export async function standInSeats(faces, dark) {
  const ends = faces.map(({ name, hue }) => new End(camera(name, hue)));
  const [one, other] = ends;
  if (one && other) await connect(one, other, dark);
  return ends.map((end) => {
    const network = new Network();
    const url = new URL("demo/edge", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const client = new StandIn(url.href, network.platform.WebSocket);
    return {
      client,
      network,
      received: end.received,
      publish: async () => {
        end.send(client.mayPublish);
        return client.mayPublish;
      },
      stop: () => end.send(false),
      refuse: (on) => {
        client.refuses = on;
      },
      setAudio: (track) => end.setAudio(track),
    };
  });
}
