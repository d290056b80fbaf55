// Registers the stories as tests of an SDK, in Node.js.

import { test } from "node:test";

import { stories } from "./stories.js";

/** The names of the SDKs whose stories this file has registered. @type {string[]} */
export const registered = [];

/**
 * @param {string} name of the SDK, as sdks.js has it
 * @param {"rtc" | "rtm" | "chat"} service whose tokens it takes
 * @param {import("./stories.js").Open} open
 */
export function conformance(name, service, open) {
  registered.push(name);
  for (const [event, story] of Object.entries(stories)) test(`${name}: ${event}`, (t) => story(service, open, t));
}
