/** @import { Endpoint } from "./endpoint.js" */

import { request } from "./api.js";
import { ownChannel } from "./channel.js";
import { offerCopy } from "./copy.js";
import { byId, reducedMotion, setText } from "./dom.js";
import { localEndpoints } from "./endpoint.js";
import { Operators } from "./operators.js";
import { Participant } from "./participant.js";
import { message } from "./reasons.js";
import { offerLifetimes, offerRotation, offerSound, requestedTtl } from "./settings.js";
import { View } from "./view.js";

/** @typedef {{appId: string, real: boolean, ttl: number, minTtl: number, maxTtl: number, warnBefore: number, canRotate: boolean, version: string}} Config */

const people = [
  { name: "Ana", uid: 1001, hue: 330, notes: [329.6, 493.9] },
  { name: "Ben", uid: 1002, hue: 175, notes: [220, 329.6] },
];
const renderMs = 200;

async function main() {
  addEventListener("hashchange", () => {
    navigate();
    scrollTo(0, 0);
  });
  navigate();
  offerCopy(byId("copy-lines"), "the six lines", () => byId("snippet").textContent ?? "");
  void new Operators(byId("operators-view")).run();
  try {
    /** @type {Config} */
    const config = await request("demo/config.json");
    showConfig(config);
    const channel = await ownChannel();
    const endpoints = await makeEndpoints(config);
    startCall(config, endpoints, channel);
  } catch (error) {
    noCall(message(error));
  }
}

/** @param {Config} config */
async function makeEndpoints({ real }) {
  if (real) return (await import("./agora.js")).agoraEndpoints(people);
  const endpoints = await localEndpoints(people, (why) => showMissing("No picture and no sound", why));
  const { noPicture = "", noSound = "" } = endpoints[0] ?? {};
  if (noPicture) showMissing(noSound ? "No picture and no sound" : "No picture", noPicture);
  return endpoints;
}

/** Shows the view that the page's address names. */
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

/** @param {Config} config */
function showConfig(config) {
  setText(byId("app-id"), config.appId);
  setText(byId("version"), config.version);
  if (!config.real) return;
  setText(byId("edge-words"), "Agora");
  setText(byId("but-agora"), ", but to Agora, which holds the call");
}

/**
 * @param {Config} config
 * @param {Endpoint[]} endpoints
 * @param {string} channel
 */
function startCall(config, endpoints, channel) {
  const { appId } = config;
  const ttl = requestedTtl(config);
  const participants = endpoints.map((endpoint, i) => new Participant({ ...person(i), channel, appId, ttl, endpoint }));
  const template = /** @type {HTMLTemplateElement} */ (byId("person"));
  const views = participants.map((participant, i) => new View(participant, person(i).hue, person(1 - i).name, template));
  byId("people").replaceChildren(...views.map((view) => view.section));
  byId("settings").hidden = false;
  for (const participant of participants) participant.start();
  openTogether(document.querySelectorAll("details"));
  renderRegularly(views);
  offerLifetimes(config, participants);
  offerSound(endpoints, views, people.map(({ notes }) => notes));
  offerRotation(config);
}

/** @param {number} i */
const person = (i) => people[i] ?? { name: "", uid: 0, hue: 0 };

/**
 * Opens and closes all elements together, so that the visitor can compare them.
 * @param {NodeListOf<HTMLDetailsElement>} all
 */
function openTogether(all) {
  for (const one of all) one.addEventListener("toggle", () => all.forEach((other) => (other.open = one.open)));
}

/** @param {View[]} views */
function renderRegularly(views) {
  let lastAt = 0;
  setInterval(() => {
    const now = Date.now();
    if (reducedMotion.matches && now - lastAt < 5 * renderMs) return;
    lastAt = now;
    for (const view of views) view.render();
  }, renderMs);
}

/**
 * @param {string} what
 * @param {string} why as the end of a sentence
 */
function showMissing(what, why) {
  setText(byId("notice"), `${what}: ${why}. All the rest works: tokens, renewals and dropped calls are real.`);
}

/** @param {string} why as the end of a sentence */
function noCall(why) {
  byId("try").hidden = byId("people").hidden = true;
  setText(byId("trouble"), `No call can be made: ${why}.`);
}

void main();
