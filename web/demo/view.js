// What a visitor sees of one person, and the switches.

/** @import { Participant } from "./participant.js" */

import { el, enable, say, usable } from "./dom.js";
import { clock, counted, lasted, seconds, span } from "./format.js";
import { Ring } from "./ring.js";
import { story } from "./story.js";
import { Timeline } from "./timeline.js";

/**
 * A control, and the line that says what to expect of it.
 * @typedef {object} Control
 * @property {string | (() => string)} name
 * @property {string | (() => string)} hint
 * @property {() => void} [press] of a button
 * @property {(on: boolean) => void} [flip] of a switch
 * @property {() => boolean} [on] of a switch
 * @property {() => boolean} usable
 */

/** @typedef {{control: Control, input: HTMLElement, label: HTMLElement, hint: HTMLElement}} Shown */

const words = {
  call: { in: "in the call", out: "out", reconnecting: "reconnecting" },
  refresher: { connecting: "connecting", live: "live", away: "away", ended: "ended", off: "off" },
};

export class View {
  #p;
  #ring;
  /** @type {Shown[]} */
  #controls;

  /**
   * @param {Participant} participant
   * @param {string} other the name of who receives this one
   * @param {HTMLTemplateElement} template
   */
  constructor(participant, other, template) {
    const p = participant;
    const { name } = p;
    this.#p = p;
    this.section = /** @type {HTMLElement} */ (template.content.cloneNode(true).firstChild?.nextSibling);
    const title = this.part("name");
    title.id = `${name}-name`;
    title.textContent = name;
    this.section.setAttribute("aria-labelledby", title.id);
    const video = /** @type {HTMLVideoElement} */ (this.part("video"));
    video.srcObject = p.seat.received;
    video.muted = true; // else it may not begin by itself
    video.play().catch(() => {}); // and not by autoplay, which stops whenever it is scrolled out of sight
    video.setAttribute("aria-label", `What ${other} receives of ${name}`);
    this.part("caption").textContent = `What ${other} receives of ${name}`;
    const meter = this.part("ring");
    meter.setAttribute("aria-label", `Life left in the token of ${name}`);
    this.#ring = new Ring(meter);
    const timeline = new Timeline(this.part("timeline"));
    p.ontell = (entry) => timeline.add(entry);
    p.onchange = () => this.render();
    this.part("copy").addEventListener("click", () => void this.#copy());
    this.#controls = controls(p).map((control, i) => show(control, `${name}-hint-${i}`));
    this.part("switches").append(...this.#controls.filter(({ control }) => control.flip).map(row));
    this.part("buttons").append(...this.#controls.filter(({ control }) => control.press).map(row));
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
  sound(on) {
    /** @type {HTMLVideoElement} */ (this.part("video")).muted = !on;
  }

  /** Shows how things are; it is called often, and changes only what has changed. */
  render() {
    const p = this.#p;
    const { dataset } = this.section;
    dataset.call = p.call;
    dataset.refresher = p.state;
    dataset.renewals = String(p.renewals);
    say(this.part("call"), words.call[p.call]);
    say(this.part("refresher"), words.refresher[p.state]);
    say(this.part("span"), p.call === "in" ? span(p.now() - p.inSince) : "–");
    say(this.part("renewals"), String(p.renewals));
    say(this.part("tightest"), p.renewals ? seconds(p.tightestMs) : "–");
    say(this.part("lost"), p.drops ? `${lasted(p.lostMs())}, ${counted(p.drops, "drop")}` : "none");
    say(this.part("token"), p.token ? `${p.token.slice(0, 10)}…${p.token.slice(-6)}` : "none yet");
    enable(this.part("copy"), p.token !== "");
    say(this.part("story"), story(p));
    this.#ring.show(p.leftMs(), p.livedMs);
    this.#renderGone();
    for (const { control, input, label, hint } of this.#controls) {
      say(label, read(control.name));
      say(hint, read(control.hint));
      enable(input, control.usable());
      if (input instanceof HTMLInputElement && control.on) input.checked = control.on();
    }
  }

  #renderGone() {
    const p = this.#p;
    this.part("gone").hidden = p.sending;
    if (p.sending) return;
    const audience = p.call === "in";
    say(this.part("gone-title"), audience ? `${p.name} sends nothing` : p.outSince ? `${p.name} is gone` : `${p.name} is on the way`);
    say(this.part("gone-since"), audience ? "in the call, as audience" : p.outSince ? `since ${clock(p.outSince)}` : "");
    say(this.part("gone-why"), audience ? "the token does not allow to publish" : p.why);
  }

  async #copy() {
    const button = this.part("copy");
    if (!usable(button)) return;
    try {
      await navigator.clipboard.writeText(this.#p.token);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}

/**
 * @param {Participant} p
 * @returns {Control[]}
 */
function controls(p) {
  const { client, refuse } = p.seat;
  const real = refuse === null;
  const elsewhere = "Not with Agora’s own SDK: only the stand-in can be told to.";
  return [
    {
      name: "Refresher",
      hint: "Off: nobody renews, and the call drops when the ring is empty.",
      on: () => p.refresher !== null,
      flip: (on) => p.switchRefresher(on),
      usable: () => true,
    },
    {
      name: "Network",
      hint: real ? elsewhere : "Off: neither service nor edge. Back on, the call returns by itself.",
      on: () => p.seat.network.up,
      flip: (on) => p.switchNetwork(on),
      usable: () => !real,
    },
    {
      name: "SDK refuses",
      hint: real ? elsewhere : "Each new token is refused, and the service makes others.",
      on: () => p.refusing,
      flip: (on) => p.switchRefusal(on),
      usable: () => !real,
    },
    {
      name: "Kill the socket",
      hint: "The WebSocket breaks. It resumes with its key.",
      press: () => p.killSocket(),
      usable: () => p.state === "live",
    },
    {
      name: () => (p.role === "publisher" ? "Make audience" : "Promote to publisher"),
      hint: () => (p.role === "publisher" ? "An operator takes the right to send: the picture stops." : "An operator gives the right to send: the picture returns."),
      press: () => void p.changeRole(),
      usable: () => p.state === "live" && p.call === "in",
    },
    {
      name: "Revoke",
      hint: "An operator ends it, and refuses its return for 60 s.",
      press: () => void p.revoke(),
      usable: () => p.state !== "ended" && p.revokedUntil * 1000 < p.now(),
    },
    {
      name: "Join again",
      hint: "Opens another session, once this one is over.",
      press: () => p.joinAgain(),
      usable: () => p.state === "ended" || (p.state === "live" && p.call === "out" && client.connectionState === "DISCONNECTED"),
    },
  ];
}

/**
 * @param {Control} control
 * @param {string} id
 * @returns {Shown}
 */
function show(control, id) {
  const hint = el("span", { class: "hint", id }, read(control.hint));
  if (control.press) {
    const button = el("button", { type: "button", "aria-describedby": id });
    button.addEventListener("click", () => usable(button) && control.press?.());
    return { control, input: button, label: button, hint };
  }
  const input = el("input", { type: "checkbox", role: "switch", "aria-describedby": id });
  input.addEventListener("click", (event) => {
    if (usable(input)) control.flip?.(input.checked);
    else event.preventDefault();
  });
  return { control, input, label: el("span"), hint };
}

/** @param {Shown} shown */
function row({ input, label, hint }) {
  const head = input === label ? input : el("label", {}, input, label);
  return el("div", { class: "control" }, head, hint);
}

/** @param {string | (() => string)} text */
const read = (text) => (typeof text === "function" ? text() : text);
