// Runs a scenario in the page: window.scenario(event) rejects if one of its assertions fails.

import { scenarios } from "../../../web/client/test/scenarios.js";

const channel = new MessageChannel();
/** @type {(() => void)[]} */
const waiting = [];
channel.port1.onmessage = () => waiting.shift()?.();
globalThis.setImmediate ??= /** @type {any} */ ((/** @type {() => void} */ callback) => {
  waiting.push(callback);
  channel.port2.postMessage(null);
});

/**
 * @param {"rtc" | "rtm" | "chat"} service
 * @param {import("../../../web/client/test/scenarios.js").Open} open
 */
export function run(service, open) {
  globalThis.scenario = async (/** @type {string} */ event) => {
    /** @type {(() => unknown)[]} */
    const after = [];
    try {
      await scenarios[event]?.(service, open, { after: (done) => after.push(done) });
    } finally {
      for (const done of after.reverse()) await done();
    }
  };
}
