// What a visitor sees of one person, and the switches.

/** @import { Participant } from "./participant.js" */

import { byId, el, enable, say, usable } from "./dom.js";
import { counted, lasted, lasting, seconds, span } from "./format.js";
import { Ring } from "./ring.js";
import { story } from "./story.js";
import { Timeline } from "./timeline.js";

/**
 * A control, and the line that says what to expect of it.
 * @typedef {object} Control
 * @property {string | (() => string)} name
 * @property {boolean} [first] one that stands under the picture, before the rest
 * @property {string | (() => string)} hint
 * @property {() => void} [press] of a button
 * @property {(on: boolean) => void} [flip] of a switch
 * @property {() => boolean} [on] of a switch
 * @property {() => boolean} usable
 */

/** @typedef {{control: Control, input: HTMLElement, label: HTMLElement, hint: HTMLElement}} Shown */

const words = {
  call: { in: "in the call", out: "out", reconnecting: "reconnecting" },
  refresher: { connecting: "connecting", live: "connected", away: "out of reach", ended: "session over", off: "not used" },
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
    // importNode, not cloneNode: a clone belongs to the template's inert document, in
    // which Firefox does not play a video.
    this.section = /** @type {HTMLElement} */ (document.importNode(template.content, true).firstElementChild);
    const title = this.part("name");
    title.id = `${name}-name`;
    title.textContent = name;
    this.section.setAttribute("aria-labelledby", title.id);
    const video = /** @type {HTMLVideoElement} */ (this.part("video"));
    video.srcObject = p.seat.received;
    video.muted = true; // else it may not begin by itself
    video.play().catch(() => {}); // and not by autoplay, which stops whenever it is scrolled out of sight
    video.setAttribute("aria-label", `What ${other} receives of ${name}`);
    this.part("caption").textContent = `Seen by ${other}`;
    this.part("more").textContent = `More to try on ${name}`;
    this.part("summary").textContent = `Token and timeline of ${name}`;
    this.part("timeline").setAttribute("aria-label", `Timeline of ${name}`);
    const meter = this.part("ring");
    meter.setAttribute("aria-label", `Life left in the token of ${name}`);
    this.#ring = new Ring(meter);
    const timeline = new Timeline(this.part("timeline"));
    p.ontell = (entry) => timeline.add(entry);
    p.onchange = () => this.render();
    offerCopy(this.part("copy"), `the token of ${name}`, () => p.token);
    this.#controls = controls(p).map((control, i) => show(control, `${name}-${i}`, title.id));
    for (const shown of this.#controls) this.part(shown.control.first ? "first" : "buttons").append(row(shown));
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
    dataset.fate = p.fate;
    say(this.part("call"), words.call[p.call]);
    say(this.part("badge"), p.ended ? "Session over" : p.refresher ? "With refresher" : "Without refresher");
    say(this.part("refresher"), words.refresher[p.state]);
    say(this.part("span"), p.call === "in" ? span(p.now() - p.inSince) : "–");
    say(this.part("renewals"), String(p.renewals));
    say(this.part("tightest"), p.renewals ? `${seconds(p.tightestMs)} to spare` : "–");
    say(this.part("lost"), p.drops ? `${lasted(p.lostMs())}, ${counted(p.drops, "drop")}` : "none");
    say(this.part("token"), p.token ? `${p.token.slice(0, 10)}…${p.token.slice(-6)}` : "none yet");
    enable(this.part("copy"), p.token !== "");
    say(this.part("story"), story(p));
    // Whoever is out uses no token, also where one would still work.
    this.#ring.show(p.call === "out" ? 0 : p.leftMs(), p.livedMs);
    say(this.part("left"), left(p));
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
    say(this.part("gone-title"), audience ? "Audience" : p.call === "reconnecting" ? "Cut off" : fates[p.fate]);
    say(this.part("gone-since"), p.fate === "lost" || p.call === "reconnecting" ? span(p.now() - p.outSince) : "");
    say(this.part("gone-why"), audience ? "This token does not let its holder send." : p.why && `${p.why.charAt(0).toUpperCase()}${p.why.slice(1)}.`);
  }
}

const fates = { "": "Joining", lost: "Call lost", over: "Call ended" };

/** @param {Participant} p */
function left(p) {
  const ms = p.leftMs();
  if (p.call === "out") return !p.fate ? "Waiting for a token" : p.fate === "lost" && !ms ? "Token ran out" : "No token in use";
  return ms > 0 ? `Token ends in ${lasting(ms)}` : "Token ran out";
}

/**
 * Copies a text, and says whether it did: on the button, and to who does not see it.
 * @param {HTMLElement} button
 * @param {string} what
 * @param {() => string} text
 */
export function offerCopy(button, what, text) {
  button.setAttribute("aria-label", `Copy ${what}`);
  const tell = (/** @type {string} */ word, /** @type {string} */ words) => {
    button.textContent = word;
    byId("told").textContent = words;
  };
  button.addEventListener("click", async () => {
    if (!usable(button)) return;
    try {
      await navigator.clipboard.writeText(text());
      tell("Copied", `Copied ${what}.`);
    } catch {
      tell("Not allowed", "The browser does not allow to copy.");
    }
    setTimeout(() => tell("Copy", ""), 2000);
  });
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
      first: true,
      hint: "Off: nobody renews the token, and the call drops when it ends.",
      on: () => p.refresher !== null,
      flip: (on) => p.switchRefresher(on),
      usable: () => true,
    },
    {
      name: "Network",
      first: true,
      hint: real ? elsewhere : "Off: nothing comes through. On again, the call returns by itself.",
      on: () => p.seat.network.up,
      flip: (on) => p.switchNetwork(on),
      usable: () => !real,
    },
    {
      name: "SDK refuses",
      hint: real ? elsewhere : "The app’s SDK turns each new token down; the service makes others.",
      on: () => p.refusing,
      flip: (on) => p.switchRefusal(on),
      usable: () => !real,
    },
    {
      name: "Kill the socket",
      hint: "The connection to the service breaks, and is taken up again.",
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
      hint: "An operator ends this call, and refuses a return for 60 s.",
      press: () => void p.revoke(),
      usable: () => p.state !== "ended" && p.revokedUntil * 1000 < p.now(),
    },
    {
      name: "Join again",
      hint: "Once the session is over.",
      press: () => p.joinAgain(),
      usable: () => p.state === "ended" || (p.state === "live" && p.call === "out" && client.connectionState === "DISCONNECTED"),
    },
  ];
}

/**
 * @param {Control} control
 * @param {string} id
 * @param {string} person the id of who is named, so that no two controls have one name
 * @returns {Shown}
 */
function show(control, id, person) {
  const hint = el("span", { class: "hint", id: `${id}-hint` }, read(control.hint));
  const names = { "aria-labelledby": `${id} ${person}`, "aria-describedby": `${id}-hint` };
  if (control.press) {
    const button = el("button", { type: "button", id, ...names });
    button.addEventListener("click", () => usable(button) && control.press?.());
    return { control, input: button, label: button, hint };
  }
  const input = el("input", { type: "checkbox", role: "switch", ...names });
  input.addEventListener("click", (event) => {
    if (usable(input)) control.flip?.(input.checked);
    else event.preventDefault();
  });
  return { control, input, label: el("span", { id }), hint };
}

/** @param {Shown} shown */
function row({ input, label, hint }) {
  const head = input === label ? input : el("label", {}, input, label);
  return el("div", { class: "control" }, head, hint);
}

/** @param {string | (() => string)} text */
const read = (text) => (typeof text === "function" ? text() : text);
