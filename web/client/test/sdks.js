// The SDKs that the library binds, keyed by their names in the README's table. Each has its package, and the
// test file that runs the scenarios of scenarios.js with it.

import assert from "node:assert/strict";
import { test } from "node:test";

const root = new URL("../../../", import.meta.url);
const browser = "test/browser/bindings.test.js";
const native = "test/native/conformance.test.js";

/** @type {Record<string, {name: string, tests: string}>} the package by its name in the package.json beside the tests, and the file */
export const sdks = {
  "agora-rtc-sdk-ng": { name: "agora-rtc-sdk-ng", tests: browser },
  "agora-rtc-react": { name: "agora-rtc-react", tests: browser },
  "agora-rtm, login": { name: "agora-rtm", tests: browser },
  "agora-rtm, stream channel": { name: "agora-rtm", tests: browser },
  "agora-rtm 2.1, login": { name: "agora-rtm-2.1", tests: browser },
  "agora-chat": { name: "agora-chat", tests: "web/client/test/chat.test.js" },
  "react-native-agora, joinChannel": { name: "react-native-agora", tests: native },
  "react-native-agora, joinChannelEx": { name: "react-native-agora", tests: native },
  "agora-electron-sdk, joinChannel": { name: "agora-electron-sdk", tests: native },
  "agora-electron-sdk, joinChannelEx": { name: "agora-electron-sdk", tests: native },
  "agora-react-native-rtm, login": { name: "agora-react-native-rtm", tests: native },
  "agora-react-native-rtm, stream channel": { name: "agora-react-native-rtm", tests: native },
};

/**
 * Registers a test that fails unless the file runs the scenarios for exactly its SDKs of this list.
 * @param {string} file its import.meta.url
 * @param {Iterable<string>} names of the SDKs whose scenarios it has registered
 */
export function tested(file, names) {
  test("the scenarios run with each SDK of the README's table", () => {
    const expected = Object.entries(sdks).filter(([, { tests }]) => new URL(tests, root).href === file).map(([name]) => name);
    assert.deepEqual([...names].sort(), expected.sort());
  });
}
