// leave() without a live connection, or on a page that is hidden or closing: the library leaves over HTTP.

import assert from "node:assert/strict";
import { test } from "node:test";

import { platform } from "../platform.js";
import { Simulation, hour, second, settle } from "./fakes/index.js";

const leaves = (sim) => sim.fetches.filter(({ url }) => url.endsWith("/leave"));

/**
 * Situations in which leave() is called, and whether the library then sends a message on the socket and a
 * request over HTTP.
 */
const moments = {
  "live, and visible": { begin: (sim) => sim.live(), socket: true, http: false },
  "live, and hidden": {
    begin: async (sim) => {
      const live = await sim.live();
      sim.hidden = true;
      return live;
    },
    socket: true, http: true,
  },
  away: {
    begin: async (sim) => {
      const live = await sim.live();
      await live.socket.closes(1006);
      return live;
    },
    socket: false, http: true,
  },
  "away, and the next socket is still connecting": {
    begin: async (sim) => {
      const live = await sim.live();
      await live.socket.closes(1006);
      await sim.nextSocket();
      return live;
    },
    socket: false, http: true,
  },
  "away, and resume is not answered yet": {
    begin: async (sim) => {
      const live = await sim.live();
      await live.socket.closes(1006);
      await sim.nextSocket();
      await sim.socket.opens();
      return live;
    },
    socket: true, http: true,
  },
  "before the service has answered join": {
    begin: async (sim) => {
      const refresher = sim.refresher();
      await settle();
      return { refresher };
    },
    socket: false, http: false,
  },
  "after the service has ended the session": {
    begin: async (sim) => {
      const live = await sim.live();
      await live.socket.endsWith("revoked");
      sim.hidden = true;
      return live;
    },
    socket: false, http: false,
  },
};

for (const [moment, { begin, socket, http }] of Object.entries(moments)) {
  test(`leave(), ${moment}: the service is told ${[socket && "on the connection", http && "over HTTP"].filter(Boolean).join(" and ") || "nothing"}`, async (t) => {
    const sim = new Simulation(t);
    const { refresher } = await begin(sim);
    const { session, expiresAt } = refresher;
    refresher.leave();
    refresher.leave();
    assert.equal(sim.socket.sent.some(({ type }) => type === "leave"), socket);
    assert.deepEqual(leaves(sim).map(({ url, method, body }) => ({ url, method, body })), http ? [{
      url: `https://calls.example.com/v1/sessions/${session}/leave`, method: "POST", body: { key: "key-1", seq: 1, expiresAt },
    }] : []);
    await settle();
    sim.assertEmpty();
  });
}

test("the request is a simple one, so that no preflight comes before it, and outlives the page", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  refresher.bind("rtc", { renew: async () => {} });
  await settle();
  await sim.socket.closes(1006);
  refresher.leave();
  const [request] = leaves(sim);
  assert.equal(request.headers, undefined, "a text has the type text/plain");
  assert.equal(request.keepalive, true);
  assert.deepEqual(request.body, { key: "key-1", seq: 1, expiresAt: sim.seconds() + 3600 }, "what was applied");
});

test("a request to leave that fails or is refused is an error event after the end", async (t) => {
  for (const [answer, message] of [
    [(request) => request.answers(204, ""), null],
    [(request) => request.answers(503), /HTTP status 503/],
    [(request) => request.fails(), /Failed to fetch/],
  ]) {
    const sim = new Simulation(t);
    const { refresher } = await sim.live();
    await sim.socket.closes(1006);
    refresher.leave();
    await answer(leaves(sim)[0]);
    await sim.pass(hour);
    const errors = sim.saw("error");
    if (message) assert.match(errors[0].message, message);
    assert.equal(errors.length, message ? 1 : 0);
    assert.equal(leaves(sim).length, 1, "it is not repeated");
    sim.assertEmpty();
  }
});

test("close() tells the service nothing, also from a hidden page", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  sim.hidden = true;
  refresher.close();
  await sim.pass(10 * second);
  assert.deepEqual(leaves(sim), []);
});

test("a resume token from the storage that no connection has proven stays good", async (t) => {
  const sim = new Simulation(t);
  const items = new Map([[
    `refresher s://calls.example.com ${JSON.stringify({ rtc: { channel: "daily", uid: 1001, role: "publisher" } })}`,
    JSON.stringify({ session: "session-1", key: "key-1", seq: 1, expiresAt: 1 }),
  ]]);
  const storage = { getItem: (name) => items.get(name) ?? null, setItem: (name, value) => void items.set(name, value), removeItem: (name) => void items.delete(name) };
  sim.hidden = true;
  sim.refresher({ storage }).leave();
  assert.deepEqual(leaves(sim), []);
  assert.equal(items.size, 1);
});

test("isHidden is true for a hidden page, and during pagehide and beforeunload", (t) => {
  t.after(() => {
    delete globalThis.window;
    delete globalThis.document;
  });
  assert.equal(platform().isHidden, undefined, "no page");
  globalThis.window = { addEventListener: () => {} };
  globalThis.document = { visibilityState: "visible", addEventListener: () => {} };
  const { isHidden } = platform();
  assert.equal(isHidden(), false);
  for (const [type, hidden] of [["click", false], ["pagehide", true], ["beforeunload", true], ["unload", true], ["visibilitychange", false]]) {
    globalThis.window.event = { type };
    assert.equal(isHidden(), hidden, type);
  }
  globalThis.window.event = undefined;
  globalThis.document.visibilityState = "hidden";
  assert.equal(isHidden(), true);
});
