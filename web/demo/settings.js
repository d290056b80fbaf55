// The controls for both participants: token lifetime, sound, and App Certificate.

/** @import { Config } from "./demo.js" */
/** @import { Endpoint } from "./endpoint.js" */
/** @import { Participant } from "./participant.js" */
/** @import { View } from "./view.js" */

import { request } from "./api.js";
import { tone } from "./camera.js";
import { byId, el, enable, isEnabled, setText } from "./dom.js";
import { clock, lifetime } from "./format.js";
import { message } from "./reasons.js";

const lifetimes = [10, 30, 120]; // seconds
const pollMs = 500;

/**
 * Returns the token lifetime in seconds from the page's URL, if the service allows it.
 * @param {Config} config
 */
export function requestedTtl(config) {
  const ttl = Number(new URLSearchParams(location.search).get("ttl"));
  return Number.isInteger(ttl) && isAllowed(config, ttl) ? ttl : undefined;
}

/**
 * @param {Config} config
 * @param {number} ttl seconds
 */
function isAllowed({ minTtl, maxTtl }, ttl) {
  return ttl >= minTtl && ttl <= maxTtl;
}

/**
 * @param {Config} config
 * @param {Participant[]} participants
 */
export function offerLifetimes(config, participants) {
  const select = /** @type {HTMLSelectElement} */ (byId("ttl"));
  const now = requestedTtl(config) ?? config.ttl;
  const choices = [...new Set([...lifetimes.filter((s) => isAllowed(config, s)), now])].sort((a, b) => a - b);
  select.append(...choices.map((s) => el("option", { value: String(s) }, lifetime(s))));
  select.value = String(now);
  select.addEventListener("change", () => {
    const url = new URL(location.href);
    url.searchParams.set("ttl", select.value);
    history.replaceState(null, "", url);
    for (const participant of participants) participant.restart(Number(select.value));
  });
}

/**
 * @param {Endpoint[]} endpoints
 * @param {View[]} views
 * @param {number[][]} notes of each participant's tone, in hertz
 */
export function offerSound(endpoints, views, notes) {
  const input = /** @type {HTMLInputElement} */ (byId("sound"));
  /** @type {AudioContext | null} */
  let audio = null;
  const missing = endpoints[0]?.noSound;
  if (missing) {
    enable(input, false);
    setText(byId("sound-hint"), `None: ${missing}.`);
  }
  const start = () => {
    const context = new AudioContext(); // made only after a click, since browsers play no sound before one
    for (const [i, endpoint] of endpoints.entries()) endpoint.setAudio(tone(context, notes[i] ?? []));
    return context;
  };
  input.addEventListener("click", async (event) => {
    if (!isEnabled(input)) return event.preventDefault();
    const on = input.checked;
    for (const view of views) view.setSound(on);
    try {
      if (on) await (audio ??= start()).resume();
      else await audio?.suspend();
    } catch (error) {
      setText(byId("sound-hint"), `The browser plays no sound: ${message(error)}.`);
    }
  });
}

/** @param {Config} config */
export function offerRotation(config) {
  const button = byId("rotate");
  const hint = byId("rotate-hint");
  if (!config.canRotate) {
    enable(button, false);
    setText(hint, "Not with the certificate of your own project: Agora’s console replaces that one.");
  }
  button.addEventListener("click", async () => {
    if (!isEnabled(button)) return;
    enable(button, false);
    try {
      await rotate((text) => setText(hint, text));
    } catch (error) {
      setText(hint, `The rotation failed: ${message(error)}.`);
    }
    enable(button, true);
  });
}

/**
 * Replaces the App Certificate. Until the demo's simulated edge refuses the old certificate, reports how many
 * sessions have tokens of the new certificate.
 * @param {(text: string) => void} report
 */
async function rotate(report) {
  const { certificate, oldRefusedAt } = await request("demo/certificate", { method: "POST", body: {} });
  const refusedAt = oldRefusedAt * 1000;
  let moved = "";
  for (;;) {
    const { certificates } = await request("v1/certificates");
    const sessions = certificates.reduce((/** @type {number} */ sum, /** @type {{sessions: number}} */ c) => sum + c.sessions, 0);
    const renewed = certificates.find((/** @type {{fingerprint: string}} */ c) => c.fingerprint === certificate)?.sessions ?? 0;
    moved = `${renewed} of ${sessions}`;
    report(`Certificate ${certificate} signs now. Moved: ${moved}. The old one is refused from ${clock(refusedAt)} on.`);
    if (renewed === sessions || Date.now() > refusedAt) break;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  await new Promise((resolve) => setTimeout(resolve, refusedAt - Date.now()));
  report(`Certificate ${certificate} signs, and the old one is refused since ${clock(refusedAt)}. Moved in time: ${moved}.`);
}
