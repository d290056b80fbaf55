// The call's pictures and tones, from each of two people to the other, by WebRTC
// within this page.

/** One person's end: what they send, and what the other receives of it. */
export class End {
  /** @type {MediaStream} what the other side receives of this person */
  received = new MediaStream();
  /** @type {MediaStreamTrack | null} */
  audio = null;
  #sending = false;
  /** @type {RTCRtpSender[]} */
  #senders = [];

  /** @param {MediaStreamTrack} video */
  constructor(video) {
    this.video = video;
  }

  /** @param {RTCRtpSender[]} senders of audio and of video */
  wire(senders) {
    this.#senders = senders;
    this.send(this.#sending);
  }

  /** @param {boolean} on whether anything is sent; what is not sent does not arrive */
  send(on) {
    this.#sending = on;
    for (const sender of this.#senders) {
      const track = sender === this.#senders[0] ? this.audio : this.video;
      sender.replaceTrack(on ? track : null).catch(() => {}); // the connection is closed, so nothing is sent
    }
  }

  /** @param {MediaStreamTrack | null} track */
  setAudio(track) {
    this.audio = track;
    this.send(this.#sending);
  }
}

/**
 * Connects two ends.
 * @param {End} one
 * @param {End} other
 * @param {() => void} failed is called if nothing comes through
 */
export async function connect(one, other, failed) {
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onconnectionstatechange = () => a.connectionState === "failed" && failed();
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
  one.wire(a.getSenders());
  other.wire(b.getSenders());
}

/**
 * Tells one peer where the other can be reached, once both are described.
 * @param {RTCPeerConnection} from
 * @param {RTCPeerConnection} to
 * @param {Promise<unknown>} ready
 */
function trickle(from, to, ready) {
  from.onicecandidate = ({ candidate }) => {
    if (candidate) ready.then(() => to.addIceCandidate(candidate)).catch(() => {}); // there are others
  };
}
