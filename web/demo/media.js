// The pictures and tones of the call, which the two people send to each other by WebRTC within this page.

/** The media of one person: the tracks that they send, and the stream that the other person receives. */
export class MediaEndpoint {
  received = new MediaStream();
  /** @type {MediaStreamTrack | null} */
  #audio = null;
  #video;
  #sending = false;
  /** The senders: audio, then video. @type {RTCRtpSender[]} */
  #senders = [];
  #failed = (/** @type {string} */ _why) => {};

  /** @param {MediaStreamTrack | null} video null sends no picture */
  constructor(video) {
    this.#video = video;
  }

  /**
   * @param {RTCRtpSender[]} senders of audio and of video, in this order
   * @param {(why: string) => void} failed
   */
  setSenders(senders, failed) {
    this.#senders = senders;
    this.#failed = failed;
    this.setSending(this.#sending);
  }

  /** @param {boolean} on whether the tracks are sent */
  setSending(on) {
    this.#sending = on;
    const tracks = on ? [this.#audio, this.#video] : [];
    for (const [i, sender] of this.#senders.entries()) {
      sender.replaceTrack(tracks[i] ?? null).catch((error) => this.#failed(`WebRTC does not take the track (${error.message})`));
    }
  }

  /** @param {MediaStreamTrack | null} track */
  setAudio(track) {
    this.#audio = track;
    this.setSending(this.#sending);
  }
}

/**
 * Connects two endpoints.
 * @param {MediaEndpoint} one
 * @param {MediaEndpoint} other
 * @param {(why: string) => void} failed called if the connection fails later
 */
export async function connect(one, other, failed) {
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onconnectionstatechange = () => a.connectionState === "failed" && failed("this browser lets WebRTC reach nothing, not even this page");
  a.ontrack = ({ track }) => other.received.addTrack(track);
  b.ontrack = ({ track }) => one.received.addTrack(track);
  /** @type {() => void} */
  let described = () => {};
  const ready = new Promise((resolve) => (described = () => resolve(undefined)));
  trickle(a, b, ready);
  trickle(b, a, ready);
  for (const kind of ["audio", "video"]) a.addTransceiver(kind);
  await a.setLocalDescription();
  await b.setRemoteDescription(/** @type {RTCSessionDescription} */ (a.localDescription));
  for (const transceiver of b.getTransceivers()) transceiver.direction = "sendrecv";
  await b.setLocalDescription();
  await a.setRemoteDescription(/** @type {RTCSessionDescription} */ (b.localDescription));
  described();
  one.setSenders(a.getSenders(), failed);
  other.setSenders(b.getSenders(), failed);
}

/**
 * Passes the ICE candidates of one peer to the other, once both peers have their descriptions.
 * @param {RTCPeerConnection} from
 * @param {RTCPeerConnection} to
 * @param {Promise<unknown>} ready
 */
function trickle(from, to, ready) {
  from.onicecandidate = ({ candidate }) => {
    // Without a refused candidate there is one network path less. If no path is left, the connection fails, and
    // onconnectionstatechange reports that.
    if (candidate) ready.then(() => to.addIceCandidate(candidate)).catch(() => {});
  };
}
