// The stand-in for the RTC client, with a simulated edge. Calls at the real stand-in for
// Agora's edge are in test/browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "../testing.js";

/** A WebSocket to an edge that answers each request as the test says. */
function edge(answers) {
  const addresses = [];
  class WebSocket {
    constructor(address) {
      addresses.push(address);
      queueMicrotask(() => this.onopen({}));
    }
    send(text) {
      const { id, op } = JSON.parse(text);
      queueMicrotask(() => this.onmessage({ data: JSON.stringify({ id, ok: true, ...answers[op] }) }));
    }
    close() {}
  }
  return { addresses, WebSocket };
}

for (const [service, address] of [
  ["http://127.0.0.1:8080", "ws://127.0.0.1:8080/demo/edge"],
  ["http://127.0.0.1:8080/", "ws://127.0.0.1:8080/demo/edge"],
  ["https://calls.example.com/base", "wss://calls.example.com/base/demo/edge"],
]) {
  test(`finds the edge of ${service}`, async () => {
    const { addresses, WebSocket } = edge({});
    assert.equal(await createClient(service, { WebSocket }).join("app", "daily", "token", 1001), 1001);
    assert.deepEqual(addresses, [address]);
  });
}

test("publishes in a call with a publisher's token only", async () => {
  const { WebSocket } = edge({ join: { publish: false }, renew: { publish: true } });
  const client = createClient("http://127.0.0.1:8080", { WebSocket });
  const refused = { name: "SdkError", code: "INVALID_OPERATION" };
  await assert.rejects(client.publish(), refused);
  await client.join("app", "daily", "a subscriber's", 1001);
  await assert.rejects(client.publish(), refused);
  await client.renewToken("a publisher's");
  await client.publish();
  await client.leave();
  await assert.rejects(client.publish(), refused);
});
