// Registers the stories (stories.js: scenarios that every binding must pass) as Node.js tests of an
// SDK.

import { test } from "node:test";

import { stories } from "./stories.js";

/** The names of the SDKs for which this file has registered the stories. @type {string[]} */
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
