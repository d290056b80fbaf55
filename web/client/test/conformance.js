// Registers the scenarios that every binding must pass (scenarios.js) as Node.js tests of an SDK.

import { test } from "node:test";

import { scenarios } from "./scenarios.js";

/** @type {string[]} */
export const registered = [];

/**
 * @param {string} name of the SDK, as sdks.js has it
 * @param {"rtc" | "rtm" | "chat"} service whose tokens it takes
 * @param {import("./scenarios.js").Open} open
 */
export function conformance(name, service, open) {
  registered.push(name);
  for (const [event, scenario] of Object.entries(scenarios)) test(`${name}: ${event}`, (t) => scenario(service, open, t));
}
