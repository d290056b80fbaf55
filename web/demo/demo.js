// The page: makes the call, and puts its parts together.

/** @import { Seat } from "./seats.js" */

import { agoraSeats } from "./agora.js";
import { tone } from "./camera.js";
import { byId, calm, el, enable, say, usable } from "./dom.js";
import { clock, lifetime } from "./format.js";
import { Operators } from "./operators.js";
import { Participant } from "./participant.js";
import { standInSeats } from "./seats.js";
import { View, offerCopy } from "./view.js";

/** @typedef {{appId: string, real: boolean, ttl: number, minTtl: number, maxTtl: number, warnBefore: number, canRoll: boolean, version: string}} Config */

const people = [
  { name: "Ana", uid: 1001, hue: 330, notes: [329.6, 493.9] },
  { name: "Ben", uid: 1002, hue: 175, notes: [220, 329.6] },
];
const lifetimes = [10, 30, 120]; // seconds
const dark = "No picture comes through: this browser lets WebRTC reach nothing, not even this page. Tokens are renewed all the same.";

/**
 * The lifetime that the address asks for, in seconds, if the service takes it.
 * @param {Config} config
 */
function askedTtl(config) {
  const ttl = Number(new URLSearchParams(location.search).get("ttl"));
  return Number.isInteger(ttl) && taken(config, ttl) ? ttl : undefined;
}

/**
 * @param {Config} config
 * @param {number} ttl seconds
 */
function taken({ minTtl, maxTtl }, ttl) {
  return ttl >= minTtl && ttl <= maxTtl;
}

/**
 * The channel of this tab, which a reload keeps. A tab that was duplicated has
 * the same name stored, and takes another.
 */
async function ownChannel() {
  const key = "refresher demo channel";
  const fresh = () => `demo-${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36)}`;
  const hold = (/** @type {string} */ channel) => new Promise((resolve) => {
    if (!navigator.locks) return resolve(true);
    // A page that is being reloaded lets go of its lock in time.
    navigator.locks.request(channel, { signal: AbortSignal.timeout(1000) }, () => {
      resolve(true);
      return new Promise(() => {}); // until the tab is closed
    }).catch(() => resolve(false));
  });
  let channel = sessionStorage.getItem(key) ?? fresh();
  if (!(await hold(channel))) {
    channel = fresh();
    await hold(channel);
  }
  sessionStorage.setItem(key, channel);
  return channel;
}

/**
 * @param {Config} config
 * @param {Seat[]} seats
 * @param {string} channel
 */
function makeCall(config, seats, channel) {
  const template = /** @type {HTMLTemplateElement} */ (byId("person"));
  const participants = people.map(({ name, uid }, i) => new Participant({ name, uid, channel, appId: config.appId, ttl: askedTtl(config), seat: /** @type {Seat} */ (seats[i]) }));
  const views = participants.map((participant, i) => new View(participant, people[1 - i]?.name ?? "", template));
  byId("people").replaceChildren(...views.map((view) => view.section));
  for (const participant of participants) participant.start();
  // One is compared with the other: both are folded, or neither.
  const folds = document.querySelectorAll("details");
  for (const fold of folds) fold.addEventListener("toggle", () => folds.forEach((other) => (other.open = fold.open)));
  let tick = 0;
  setInterval(() => {
    if (calm.matches && tick++ % 5) return;
    for (const view of views) view.render();
  }, 200);
  return { participants, views };
}

/**
 * @param {Config} config
 * @param {Participant[]} participants
 */
function chooseTtl(config, participants) {
  const select = /** @type {HTMLSelectElement} */ (byId("ttl"));
  const now = askedTtl(config) ?? config.ttl;
  const choices = [...new Set([...lifetimes.filter((s) => taken(config, s)), now])].sort((a, b) => a - b);
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
 * @param {Seat[]} seats
 * @param {View[]} views
 */
function offerSound(seats, views) {
  const input = /** @type {HTMLInputElement} */ (byId("sound"));
  /** @type {AudioContext | null} */
  let audio = null;
  if (!seats[0]?.setAudio) {
    enable(input, false);
    say(byId("sound-hint"), "Only the stand-in carries a tone.");
  }
  input.addEventListener("click", (event) => {
    if (!usable(input)) return event.preventDefault();
    const on = input.checked;
    if (on && !audio) {
      const made = new AudioContext(); // browsers want a click before
      audio = made;
      for (const [i, seat] of seats.entries()) seat.setAudio?.(tone(made, people[i]?.notes ?? []));
    }
    void (on ? audio?.resume() : audio?.suspend());
    for (const view of views) view.sound(on);
  });
}

/** @param {Config} config */
function offerRoll(config) {
  const button = byId("roll");
  const hint = byId("roll-hint");
  if (!config.canRoll) {
    enable(button, false);
    hint.textContent = "Not with the certificate of your own project: Agora’s console replaces that one.";
  }
  button.addEventListener("click", async () => {
    if (!usable(button)) return;
    enable(button, false);
    try {
      await roll((text) => say(hint, text));
    } catch (error) {
      say(hint, `The certificate was not rolled: ${error instanceof Error ? error.message : error}.`);
    }
    enable(button, true);
  });
}

/** @param {(text: string) => void} tell */
async function roll(tell) {
  const { certificate, oldRefusedAt } = await post("demo/certificate", {});
  const refused = clock(oldRefusedAt * 1000);
  let moved = "";
  for (;;) {
    const { certificates } = await answerOf(await fetch("v1/certificates"));
    let sessions = 0;
    let renewed = 0;
    for (const c of certificates) {
      sessions += c.sessions;
      if (c.fingerprint === certificate) renewed = c.sessions;
    }
    moved = `${renewed} of ${sessions}`;
    tell(`Certificate ${certificate} signs now. Moved: ${moved}. The old one is refused from ${refused} on.`);
    if (renewed === sessions || Date.now() > oldRefusedAt * 1000) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await new Promise((resolve) => setTimeout(resolve, oldRefusedAt * 1000 - Date.now()));
  tell(`Certificate ${certificate} signs, and the old one is refused since ${refused}. Moved in time: ${moved}.`);
}

/**
 * @param {string} path
 * @param {object} body
 */
async function post(path, body) {
  return answerOf(await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }));
}

/** @param {Response} response */
async function answerOf(response) {
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** Shows the view that the address names. */
function navigate() {
  const operators = location.hash === "#operators";
  byId("call-view").hidden = operators;
  byId("operators-view").hidden = !operators;
  document.title = operators ? "refresher: operators" : "refresher keeps long Agora calls alive";
  for (const link of document.querySelectorAll("[data-view]")) {
    const here = link.getAttribute("data-view") === (operators ? "operators" : "call");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function main() {
  const operators = new Operators(byId("operators-view"));
  addEventListener("hashchange", () => {
    navigate();
    scrollTo(0, 0);
  });
  navigate();
  offerCopy(byId("copy-lines"), "the six lines", () => byId("snippet").textContent ?? "");
  try {
    /** @type {Config} */
    const config = await answerOf(await fetch("demo/config.json"));
    say(byId("app-id"), config.appId);
    say(byId("version"), config.version);
    if (config.real) {
      say(byId("edge-words"), "Agora");
      say(byId("but-agora"), ", but to Agora, which holds the call");
    }
    void operators.run();
    const channel = await ownChannel();
    const seats = await (config.real ? agoraSeats(people) : standInSeats(people, () => say(byId("trouble"), dark)));
    const { participants, views } = makeCall(config, seats, channel);
    chooseTtl(config, participants);
    offerSound(seats, views);
    offerRoll(config);
  } catch (error) {
    byId("people").hidden = true;
    say(byId("trouble"), `The call cannot be made: ${error instanceof Error ? error.message : error}.`);
  }
}

void main();
