// The picture of a person, or a text in place of the picture.

/** @import { Participant } from "./participant.js" */

import { setText } from "./dom.js";
import { span } from "./format.js";
import { message } from "./reasons.js";

const outcomes = { "": "Joining", lost: "Call lost", over: "Call ended" };

export class Tile {
  #p;
  #part;
  #video;
  /** Why the browser does not play the picture; empty if it does. */
  #notPlaying = "";

  /**
   * @param {Participant} participant
   * @param {string} other the name of the person who receives this one
   * @param {(name: string) => HTMLElement} part finds a part of the template
   */
  constructor(participant, other, part) {
    const { name, endpoint } = participant;
    this.#p = participant;
    this.#part = part;
    this.#video = /** @type {HTMLVideoElement} */ (part("video"));
    this.#video.setAttribute("aria-label", `What ${other} receives of ${name}`);
    part("caption").textContent = `Seen by ${other}`;
    part("play").setAttribute("aria-label", `Play the picture of ${name}`);
    part("play").addEventListener("click", () => void this.#play());
    if (!endpoint.received) return;
    this.#video.srcObject = endpoint.received;
    this.#video.muted = true; // browsers play no sound before the first click
    void this.#play(); // the attribute autoplay would stop the video whenever it is scrolled out of sight
  }

  /** @param {boolean} on */
  setSound(on) {
    this.#video.muted = !on;
  }

  async #play() {
    try {
      await this.#video.play();
      this.#notPlaying = "";
    } catch (error) {
      const denied = error instanceof DOMException && error.name === "NotAllowedError"; // the browser forbids playing, by a setting or to save the battery
      this.#notPlaying = denied ? "This browser waits for a click." : `This browser does not play it: ${message(error)}.`;
    }
    this.render();
  }

  render() {
    const { call, sending, endpoint: { noPicture, received } } = this.#p;
    const pictured = sending && !noPicture && !this.#notPlaying;
    this.#video.hidden = !received;
    this.#part("cover").hidden = pictured;
    this.#part("play").hidden = !sending || !this.#notPlaying;
    setText(this.#part("badge"), this.#p.ended ? "Session over" : this.#p.refresher ? "With refresher" : "Without refresher");
    if (pictured) return;
    const lost = call.outcome === "lost" || call.state === "reconnecting";
    this.#part("cover").dataset.sending = String(sending);
    setText(this.#part("cover-title"), this.#title());
    setText(this.#part("cover-since"), lost ? span(this.#p.now() - call.outSince) : "");
    setText(this.#part("cover-why"), this.#why());
  }

  #title() {
    const { call, sending, endpoint: { noPicture } } = this.#p;
    if (call.state === "reconnecting") return "Cut off";
    if (call.state === "out") return outcomes[call.outcome];
    if (!sending) return "Audience";
    return noPicture ? "In the call" : "Picture stopped";
  }

  #why() {
    const { call, sending, endpoint: { noPicture } } = this.#p;
    if (call.state !== "in") return call.reason && sentence(call.reason);
    if (!sending) return "This token does not let its holder send.";
    return noPicture ? "No picture in this browser." : this.#notPlaying;
  }
}

/** @param {string} text */
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
