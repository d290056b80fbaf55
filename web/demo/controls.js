// The switches and buttons of one person, each with a line of explanation.

/** @import { Participant } from "./participant.js" */

import { el, enable, isEnabled, setText } from "./dom.js";
import { changeRole, revoke } from "./operator.js";

/**
 * A switch or a button.
 * @typedef {object} Control
 * @property {string | (() => string)} name
 * @property {boolean} [first] whether the control is directly under the picture, before the other controls
 * @property {string | (() => string)} hint
 * @property {() => void} [press] what a button does
 * @property {(on: boolean) => void} [flip] what a switch does
 * @property {() => boolean} [on] whether a switch is on
 * @property {() => boolean} enabled
 */

const standInOnly = "Only the stand-in for Agora’s edge can be told to, not Agora’s SDK.";

/**
 * @param {Participant} p
 * @returns {Control[]}
 */
export function controlsOf(p) {
  return [refresherSwitch(p), networkSwitch(p), refusalSwitch(p), killButton(p), roleButton(p), revokeButton(p), joinButton(p)];
}

/** @type {(p: Participant) => Control} */
const refresherSwitch = (p) => ({
  name: "Refresher",
  first: true,
  hint: "Off: nobody renews the token, and the call drops when it ends.",
  on: () => p.refresher !== null,
  flip: (on) => p.switchRefresher(on),
  enabled: () => true,
});

/** @type {(p: Participant) => Control} */
const networkSwitch = (p) => ({
  name: "Network",
  first: true,
  hint: p.endpoint.setRefusing ? "Off: nothing comes through. On again, the call returns by itself." : standInOnly,
  on: () => p.endpoint.network.up,
  flip: (on) => p.switchNetwork(on),
  enabled: () => p.endpoint.setRefusing !== null,
});

/** @type {(p: Participant) => Control} */
const refusalSwitch = (p) => ({
  name: "SDK refuses",
  hint: p.endpoint.setRefusing ? "The app’s SDK turns each new token down; the service makes others." : standInOnly,
  on: () => p.refusing,
  flip: (on) => p.switchRefusal(on),
  enabled: () => p.endpoint.setRefusing !== null,
});

/** @type {(p: Participant) => Control} */
const killButton = (p) => ({
  name: "Kill the socket",
  hint: "The connection to the service breaks, and the session is resumed.",
  press: () => p.killSocket(),
  enabled: () => p.state === "live",
});

/** @type {(p: Participant) => Control} */
const roleButton = (p) => ({
  name: () => (p.role === "publisher" ? "Make audience" : "Promote to publisher"),
  hint: () => {
    const publishes = p.role === "publisher";
    const picture = p.endpoint.noPicture ? "" : publishes ? ": the picture stops" : ": the picture returns";
    return `An operator ${publishes ? "takes" : "gives"} the right to send${picture}.`;
  },
  press: () => void changeRole(p),
  enabled: () => p.state === "live" && p.call.state === "in",
});

/** @type {(p: Participant) => Control} */
const revokeButton = (p) => ({
  name: "Revoke",
  hint: "An operator ends this call, and refuses a return for 60 s.",
  press: () => void revoke(p),
  enabled: () => p.state !== "ended" && p.revokedUntil * 1000 < p.now(),
});

/** @type {(p: Participant) => Control} */
const joinButton = (p) => ({
  name: "Join again",
  hint: "Once the session is over.",
  press: () => p.joinAgain(),
  enabled: () => p.state === "ended" || (p.state === "live" && p.call.state === "out" && p.endpoint.client.connectionState === "DISCONNECTED"),
});

export class ControlView {
  #control;
  #input;
  #label;
  #hint;

  /**
   * @param {Control} control
   * @param {string} id
   * @param {string} titleId of the person's name, which makes the control's name unique on the page
   */
  constructor(control, id, titleId) {
    this.#control = control;
    this.#hint = el("span", { class: "hint", id: `${id}-hint` }, read(control.hint));
    const names = { "aria-labelledby": `${id} ${titleId}`, "aria-describedby": `${id}-hint` };
    if (control.press) {
      const button = el("button", { type: "button", id, ...names });
      button.addEventListener("click", () => isEnabled(button) && control.press?.());
      this.#input = this.#label = button;
      return;
    }
    const input = el("input", { type: "checkbox", role: "switch", ...names });
    input.addEventListener("click", (event) => {
      if (isEnabled(input)) control.flip?.(input.checked);
      else event.preventDefault();
    });
    this.#input = input;
    this.#label = el("span", { id });
  }

  get element() {
    const head = this.#input === this.#label ? this.#input : el("label", {}, this.#input, this.#label);
    return el("div", { class: "control" }, head, this.#hint);
  }

  render() {
    const control = this.#control;
    setText(this.#label, read(control.name));
    setText(this.#hint, read(control.hint));
    enable(this.#input, control.enabled());
    if (this.#input instanceof HTMLInputElement && control.on) this.#input.checked = control.on();
  }
}

/** @param {string | (() => string)} text */
const read = (text) => (typeof text === "function" ? text() : text);
