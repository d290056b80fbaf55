// The part of the page that shows one person.

/** @import { Participant } from "./participant.js" */

import { ControlView, controlsOf } from "./controls.js";
import { offerCopy } from "./copy.js";
import { enable, setText } from "./dom.js";
import { counted, lasted, remaining, seconds, span } from "./format.js";
import { Ring } from "./ring.js";
import { statusText } from "./status.js";
import { Tile } from "./tile.js";
import { Timeline } from "./timeline.js";

const callStates = { in: "in the call", out: "out", reconnecting: "reconnecting" };
const refresherStates = { connecting: "connecting", live: "connected", away: "out of reach", ended: "session over", off: "not used" };

export class View {
  #p;
  #ring;
  #tile;
  #controls;

  /**
   * @param {Participant} participant
   * @param {number} hue of the picture
   * @param {string} other the name of the person who receives this one
   * @param {HTMLTemplateElement} template
   */
  constructor(participant, hue, other, template) {
    const p = participant;
    const { name } = p;
    this.#p = p;
    // cloneNode would make an element of the template's inert document, in which Firefox plays no video.
    this.section = /** @type {HTMLElement} */ (document.importNode(template.content, true).firstElementChild);
    this.section.style.setProperty("--hue", String(hue));
    const title = this.part("name");
    title.id = `${name}-name`;
    title.textContent = name;
    this.section.setAttribute("aria-labelledby", title.id);
    this.part("more").textContent = `More to try on ${name}`;
    this.part("summary").textContent = `Token and timeline of ${name}`;
    this.part("timeline").setAttribute("aria-label", `Timeline of ${name}`);
    this.part("ring").setAttribute("aria-label", `Life left in the token of ${name}`);
    this.#ring = new Ring(this.part("ring"));
    this.#tile = new Tile(p, other, (part) => this.part(part));
    const timeline = new Timeline(this.part("timeline"));
    p.onentry = (entry) => timeline.add(entry);
    p.onchange = () => this.render();
    offerCopy(this.part("copy"), `the token of ${name}`, () => p.token.value);
    const controls = controlsOf(p);
    this.#controls = controls.map((control, i) => new ControlView(control, `${name}-${i}`, title.id));
    for (const [i, view] of this.#controls.entries()) this.part(controls[i]?.first ? "first" : "buttons").append(view.element);
    this.render();
  }

  /**
   * @param {string} name
   * @returns {HTMLElement}
   */
  part(name) {
    const found = this.section.querySelector(`[data-part="${name}"]`);
    if (!(found instanceof HTMLElement)) throw new Error(`the template has no ${name}`);
    return found;
  }

  /** @param {boolean} on */
  setSound(on) {
    this.#tile.setSound(on);
  }

  /** Updates the page. It is called often, so it writes only changes. */
  render() {
    const p = this.#p;
    const { call } = p;
    Object.assign(this.section.dataset, { call: call.state, refresher: p.state, renewals: p.token.renewals, outcome: call.outcome });
    setText(this.part("call"), callStates[call.state]);
    setText(this.part("story"), statusText(p));
    // A client that is out of the call uses no token, even if its last token is still valid.
    this.#ring.show(call.state === "out" ? 0 : p.leftMs(), p.token.lifetimeMs);
    setText(this.part("left"), tokenLeft(p));
    this.#renderFacts();
    this.#tile.render();
    for (const control of this.#controls) control.render();
  }

  #renderFacts() {
    const { call, token, state } = this.#p;
    const now = this.#p.now();
    const { value } = token;
    setText(this.part("refresher"), refresherStates[state]);
    setText(this.part("span"), call.state === "in" ? span(now - call.inSince) : "–");
    setText(this.part("renewals"), String(token.renewals));
    setText(this.part("tightest"), token.renewals ? `${seconds(token.tightestMs)} to spare` : "–");
    setText(this.part("lost"), call.drops ? `${lasted(call.lostMs(now))}, ${counted(call.drops, "drop")}` : "none");
    setText(this.part("token"), value ? `${value.slice(0, 10)}…${value.slice(-6)}` : "none yet");
    enable(this.part("copy"), value !== "");
  }
}

/** @param {Participant} p */
function tokenLeft(p) {
  const { state, outcome } = p.call;
  const ms = p.leftMs();
  if (state !== "out") return ms > 0 ? `Token ends in ${remaining(ms)}` : "Token ran out";
  if (!outcome) return "Waiting for a token";
  return outcome === "lost" && !ms ? "Token ran out" : "No token in use";
}
