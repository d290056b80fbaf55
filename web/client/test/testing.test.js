// The substitute for the RTC client (testing.js), with a simulated edge. It must pass the scenarios of
// scenarios.js, as every SDK must. Calls over the demo's simulated edge are tested in test/browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { createClient } from "../testing.js";
import { conformance } from "./conformance.js";
import { Simulation, settle } from "./fakes/index.js";

const expired = 109;

/** A simulated Agora edge that admits every client. A test can set the edge's answer to each operation. */
class Edge {
  addresses = [];
  /** Fields of the answers, keyed by operation. */
  answers = {};
  ontoken = (_op, _token) => {};
  up = true;

  get WebSocket() {
    const edge = this;
    return class {
      constructor(address) {
        edge.socket = this;
        edge.addresses.push(address);
        queueMicrotask(() => (edge.up ? this.onopen({}) : this.onclose({})));
      }
      send(text) {
        const { id, op, token } = JSON.parse(text);
        const answer = { ok: true, ...edge.answers[op] };
        if (token && answer.ok) edge.ontoken(op, token);
        queueMicrotask(() => this.onmessage({ data: JSON.stringify({ id, ...answer }) }));
      }
      close() {}
    };
  }

  says(event) {
    this.socket.onmessage({ data: JSON.stringify({ event }) });
  }
}

conformance("@refresher/client/testing", "rtc", (taken) => {
  const edge = new Edge();
  edge.ontoken = (op, token) => taken.add(op, token);
  const client = createClient("http://127.0.0.1:8080", edge);
  return {
    bind: (refresher, app) => {
      refresher.on("refused", () => (edge.answers = {}));
      return bindRtc(refresher, client, app);
    },
    join: (token) => client.join("app", "daily", token, "ana"),
    warns: () => edge.says("token-privilege-will-expire"),
    expires: () => edge.says("token-privilege-did-expire"),
    leaves: () => client.leave(),
    refuses: () => {
      edge.answers = { renew: { ok: false, code: 110, error: "refused by the test" } };
      return "UNEXPECTED_RESPONSE";
    },
  };
});

for (const [service, address] of [
  ["http://127.0.0.1:8080", "ws://127.0.0.1:8080/demo/edge"],
  ["http://127.0.0.1:8080/", "ws://127.0.0.1:8080/demo/edge"],
  ["https://calls.example.com/base", "wss://calls.example.com/base/demo/edge"],
]) {
  test(`finds the edge of ${service}`, async () => {
    const edge = new Edge();
    assert.equal(await createClient(service, edge).join("app", "daily", "token", 1001), 1001);
    assert.deepEqual(edge.addresses, [address]);
  });
}

test("says what to check where there is no edge, or the page's origin is not allowed", async () => {
  const edge = new Edge();
  edge.up = false;
  await assert.rejects(createClient("http://127.0.0.1:8080", edge).join("app", "daily", "token", 1001), {
    code: "WS_DISCONNECT", message: /ws:\/\/127\.0\.0\.1:8080\/demo\/edge: is "refresher demo" there, with this page's origin in --allowed-origins\?$/,
  });
});

test("the service's address without a scheme is an error that says what to write", () => {
  assert.throws(() => createClient("127.0.0.1:8080", new Edge()), new TypeError('url has no scheme: write "http://127.0.0.1:8080"'));
});

test("publishes in a call with a publisher's token only", async () => {
  const edge = new Edge();
  edge.answers = { join: { publish: false }, renew: { publish: true } };
  const client = createClient("http://127.0.0.1:8080", edge);
  const refused = { name: "SdkError", code: "INVALID_OPERATION" };
  await assert.rejects(client.publish(), refused);
  await client.join("app", "daily", "a subscriber's", 1001);
  await assert.rejects(client.publish(), refused);
  await client.renewToken("a publisher's");
  await client.publish();
  await client.leave();
  await assert.rejects(client.publish(), refused);
});

test("reports a token that expired while it was away as expired", async () => {
  const edge = new Edge();
  const client = createClient("http://127.0.0.1:8080", edge);
  await client.join("app", "daily", "token", 1001);
  const ended = new Promise((resolve) => client.on("token-privilege-did-expire", resolve));
  const reasons = [];
  client.on("connection-state-change", (state, _, reason) => reasons.push(`${state} ${reason}`));
  edge.answers = { join: { ok: false, code: expired } };
  edge.socket.onclose({});
  await ended;
  assert.deepEqual(reasons, ["RECONNECTING undefined", "DISCONNECTED TOKEN_EXPIRE"]);
});

test("a call whose service comes back with other keys is rejoined, again after each rejoin that fails", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const edge = new Edge();
  const joins = [];
  const client = createClient("http://127.0.0.1:8080", edge);
  const join = (token) => (joins.push(token), client.join("app", "daily", token, 1001));
  bindRtc(refresher, client, { rejoin: join });
  await join(await refresher.token("rtc"));

  // The simulated edge is reachable again, and refuses the old token, before the library has new tokens.
  edge.answers = { join: { ok: false, code: 101 } };
  await socket.closes(1006);
  edge.socket.onclose({});
  await settle();
  assert.equal(client.connectionState, "DISCONNECTED");
  await sim.nextSocket();
  await sim.socket.opens();
  await sim.socket.refuses(4404, "unknown_session");
  await sim.nextSocket();
  await sim.join({ session: "session-2" });
  joins.length = 0;
  const refused = sim.saw("refused").length;
  for (let seq = 2; seq < 7; seq++) await sim.socket.says(sim.push({ seq, cause: "nack" }));
  assert.equal(joins.length, 5, "one rejoin for each bundle");
  assert.equal(sim.saw("refused").length, refused + 5);

  edge.answers = {};
  const last = sim.push({ seq: 7, cause: "nack" });
  await sim.socket.says(last);
  assert.equal(client.connectionState, "CONNECTED");
  assert.equal(joins.at(-1), last.tokens.rtc.token);
  assert.deepEqual(sim.socket.take().at(-1), { type: "ack", seq: 7 });
});
