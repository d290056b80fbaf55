// Registers the stories as tests of one SDK, in Node.js. The README's table of SDKs
// names each SDK by the name that is given here (table.test.js).

import { test } from "node:test";

import { stories } from "./stories.js";

/**
 * @param {string} name of the SDK, as the README has it
 * @param {"rtc" | "rtm" | "chat"} service whose tokens it takes
 * @param {import("./stories.js").Open} open
 */
export function conformance(name, service, open) {
  for (const [event, story] of Object.entries(stories)) test(`${name}: ${event}`, (t) => story(service, open, t));
}
