// The behaviour that every binding must have, in five scenarios: one for each SDK event about the SDK's token.
// They run with any SDK, in Node.js and in a browser's page. The service and its clock are simulated (fakes/).

import assert from "node:assert/strict";

import { Simulation, second, settle } from "./fakes/index.js";

/**
 * Drives one SDK in a scenario. Each promise resolves when the SDK has emitted its events.
 * @typedef {object} Driver
 * @property {(refresher: import("../index.js").Refresher, app: {rejoin: (token: string) => Promise<unknown>}) => () => void} bind binds the SDK by the binding under test
 * @property {(token: string) => Promise<unknown>} join joins the call
 * @property {() => unknown} warns makes the SDK warn that its token will expire
 * @property {() => unknown} expires makes the SDK leave the call because its token expired
 * @property {() => unknown} leaves makes the user hang up
 * @property {() => string | RegExp} refuses makes the SDK refuse the next token; returns the code of the refusal
 */

/**
 * Opens an SDK, and records each token that the SDK accepts in `taken`.
 * @typedef {(taken: Taken, t: {after: (done: () => unknown) => void}) => Driver | Promise<Driver>} Open
 */

/** The tokens that an SDK accepted, in order, each with the method that passed the token. */
export class Taken {
  /** @type {string[]} */
  #entries = [];
  /** @type {Map<string, number>} */
  #seqs = new Map();
  #read = 0;
  #wake = () => {};

  /** @param {number} seq @param {string} token */
  name(seq, token) {
    this.#seqs.set(token, seq);
    return token;
  }

  /** @param {"join" | "renew"} how @param {string} token */
  add(how, token) {
    this.#entries.push(`${how} ${this.#seqs.get(token) ?? token}`);
    this.#wake();
  }

  /** Resolves with the next unread entry. */
  async next() {
    while (this.#entries.length === this.#read) await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
    return this.#entries[this.#read++];
  }

  get unread() {
    return this.#entries.length - this.#read;
  }
}

/**
 * Opens a live call whose SDK is bound and in the call.
 * @param {"rtc" | "rtm" | "chat"} service
 * @param {Open} open
 * @param {any} t
 */
async function inCall(service, open, t) {
  const sim = new Simulation(t);
  const identity = { rtc: { channel: "daily", account: "ana" }, rtm: { userId: "ana" }, chat: { userId: "ana" } }[service];
  const { refresher, socket } = await sim.live({ rtc: undefined, [service]: identity }, { services: [service], ttl: 600, renewBefore: 60 });
  const taken = new Taken();
  const sdk = await open(taken, t);
  const unbind = sdk.bind(refresher, { rejoin: (token) => sdk.join(token) });
  t.after(() => {
    unbind();
    refresher.close();
  });
  const first = taken.name(1, await refresher.token(service));
  await sdk.join(first);
  assert.equal(await taken.next(), "join 1");
  await settle();
  socket.take();
  const event = (/** @type {"renewed" | "refused"} */ name) => new Promise((resolve) => {
    const stop = refresher.on(name, (detail) => (stop(), resolve(detail)));
  });
  /** Pushes the bundle with number `seq`. Resolves with the event that reports the bundle's outcome. */
  const push = async (/** @type {number} */ seq, /** @type {"renewed" | "refused"} */ outcome = "renewed", fields = {}) => {
    const told = event(outcome);
    const message = sim.push({ seq, services: [service], ttl: 600 + seq, ...fields });
    taken.name(seq, message.tokens[service].token);
    await socket.says(message);
    return told;
  };
  return { sim, refresher, socket, sdk, taken, first, push };
}

/** @type {Record<string, (service: "rtc" | "rtm" | "chat", open: Open, t: any) => Promise<void>>} */
export const scenarios = {
  // When the SDK warns, the library requests tokens only if the push is late.
  "will expire": async (service, open, t) => {
    const { sim, socket, sdk } = await inCall(service, open, t);
    await sdk.warns();
    await settle();
    assert.deepEqual(socket.take(), []);
    await sim.pass(541 * second);
    assert.deepEqual(socket.take(), []);
    await sdk.warns();
    await settle();
    assert.deepEqual(socket.take(), [{ type: "renew" }]);
  },

  // The app's rejoin gets the newest token, and after that the SDK gets renewals.
  "expired": async (service, open, t) => {
    const { socket, sdk, taken, push } = await inCall(service, open, t);
    await push(2);
    assert.equal(await taken.next(), "renew 2");
    await sdk.expires();
    assert.match(await taken.next() ?? "", /^(join|renew) 2$/);
    await settle();
    socket.take();
    const { services } = await push(3);
    assert.deepEqual([await taken.next(), services], ["renew 3", [service]]);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 3 }]);
  },

  // The SDK gets no token and is not rejoined, even if a bundle makes other SDKs rejoin.
  "left": async (service, open, t) => {
    const { socket, sdk, taken, push } = await inCall(service, open, t);
    await sdk.leaves();
    const { services } = await push(2);
    assert.deepEqual((await push(3, "renewed", { action: "rejoin" })).services, []);
    assert.deepEqual([services, taken.unread], [[], 0]);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 3 }]);
  },

  // After the SDK has left, the app joins the call again. The SDK then gets the newest token.
  "joined again": async (service, open, t) => {
    const { sdk, taken, first, push } = await inCall(service, open, t);
    await sdk.leaves();
    assert.deepEqual((await push(2)).services, []);
    await sdk.join(first);
    assert.deepEqual([await taken.next(), await taken.next()], ["join 1", "renew 2"]);
    assert.deepEqual((await push(3)).services, [service]);
    assert.equal(await taken.next(), "renew 3");
  },

  // The service gets the SDK's own error code, and the SDK gets the next token.
  "refused": async (service, open, t) => {
    const { socket, sdk, taken, push } = await inCall(service, open, t);
    const code = sdk.refuses();
    const refused = await push(2, "refused");
    assert.equal(refused.service, service);
    if (typeof code === "string") assert.equal(refused.code, code);
    else assert.match(refused.code, code);
    assert.deepEqual(socket.take().map(({ type, seq, code }) => ({ type, seq, code })), [{ type: "nack", seq: 2, code: refused.code }]);
    assert.equal(taken.unread, 0);
    assert.deepEqual((await push(3)).services, [service]);
    assert.equal(await taken.next(), "renew 3");
  },
};
