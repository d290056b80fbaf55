// A simulated page with a network: a Refresher connects to sockets and requests
// whose other end, the service, a test moves by hand.

import assert from "node:assert/strict";

import { Refresher } from "../../index.js";
import { Device } from "./device.js";
import { FakeRequest } from "./request.js";
import { FakeSocket } from "./socket.js";
import { second, settle } from "./time.js";
import { token } from "./tokens.js";

/** The service's longest heartbeat by default, in seconds: its flag --heartbeat. */
const serviceHeartbeat = 25;

export class Simulation extends Device {
  /** Whether no WebSocket gets through. */
  blocked = false;
  /** Answers sockets and requests, where the test does not do it by hand. @type {{connects(socket: object): void, asks(request: object): void} | null} */
  service = null;
  /** All sockets that the page has opened, oldest first. */
  sockets = [];
  /** All requests that the page has made, oldest first. */
  fetches = [];
  /** The events of all Refreshers. @type {{event: string, detail: any}[]} */
  events = [];
  /** Counts the resume keys. */
  keys = 0;

  /** @param {import("node:test").TestContext} [t] */
  constructor(t) {
    super(t);
    const network = this;
    Object.assign(this.platform, {
      WebSocket: class extends FakeSocket {
        constructor(url, protocols) {
          super(network, url, protocols);
        }
      },
      fetch: (url, init) => new Promise((resolve, reject) => {
        const request = new FakeRequest(url, init, resolve, reject);
        this.fetches.push(request);
        this.service?.asks(request);
      }),
    });
  }

  /** A Refresher on this page, whose events are kept in `events`. */
  refresher(options = {}) {
    const refresher = new Refresher({
      url: "https://calls.example.com", rtc: { channel: "daily", uid: 1001, role: "publisher" }, storage: null, platform: this.platform, ...options,
    });
    for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
      refresher.on(event, (detail) => void this.events.push({ event, detail }));
    }
    return refresher;
  }

  /** A Refresher that has joined, and the socket that it is live on. */
  async live(options = {}, joined = {}) {
    const refresher = this.refresher(options);
    const socket = await this.join(joined);
    socket.take();
    return { refresher, socket };
  }

  /** The newest socket opens, and the service answers join or resume. */
  async join(joined = {}) {
    await settle();
    const { socket } = this;
    await socket.opens();
    await socket.says(this.joined({ resumed: socket.sent.at(-1).type === "resume", ...joined }));
    return socket;
  }

  /** The connection is lost, and the next one resumes. */
  async resume(joined = {}) {
    await this.socket.closes(1006);
    await this.nextSocket();
    return this.join(joined);
  }

  /** Waits for the next attempt to connect. */
  async nextSocket() {
    const before = this.sockets.length;
    for (let waited = 0; this.sockets.length === before; waited += 10) {
      assert.ok(waited <= 20 * second, "there is another attempt");
      await this.pass(10);
    }
    return this.socket;
  }

  /** The newest socket. */
  get socket() {
    return this.sockets.at(-1);
  }

  /** The details of all events of that name. */
  saw(name) {
    return this.events.filter(({ event }) => event === name).map(({ detail }) => detail);
  }

  /** The tokens of a bundle. */
  tokens({ ttl = 3600, services = ["rtc"], uid = 1001, expiresAt = this.seconds() + ttl } = {}) {
    return Object.fromEntries(services.map((service) => [service, { token: token(service, uid, expiresAt), expiresAt }]));
  }

  /** The message `joined`. */
  joined({ ttl, services, uid, expiresAt, ...fields } = {}) {
    return {
      type: "joined", session: "session-1", key: `key-${++this.keys}`, resumed: false, seq: 1, heartbeat: serviceHeartbeat, renewBefore: 300,
      tokens: this.tokens({ ttl, services, uid, expiresAt }), now: this.time, ...fields,
    };
  }

  /** The message that pushes a bundle. */
  push({ ttl, services, uid, expiresAt, action = "renew", ...fields } = {}) {
    return {
      type: `token-privilege-${action === "rejoin" ? "did" : "will"}-expire`, tokens: this.tokens({ ttl, services, uid, expiresAt }),
      previousExpiresAt: 0, action, attempt: 1, cause: "schedule", now: this.time, ...fields,
    };
  }

  /**
   * While the device sleeps, the service hears nothing, not even an answer to a
   * WebSocket's own pings, and closes the socket for that (docs/build/protocol.md). The
   * browser of a page with throttled timers answers these pings.
   */
  async sleep(ms, options = {}) {
    await settle();
    const end = this.time + ms;
    for (const socket of this.sockets) {
      const silent = ms > 2 * Math.max(serviceHeartbeat, socket.heartbeat) * second && !this.service && socket.answersPings;
      if (silent) this.at(end + 20, () => socket.readyState === 1 && void socket.closes(4001)); // the close waits until the device is awake
    }
    await super.sleep(ms, options);
  }

  /** Asserts that nothing of the library is left on the page, but for a leave over HTTP that may outlive it. */
  assertEmpty() {
    assert.deepEqual(
      {
        timers: this.timers, wakes: this.wakes.size, hides: this.hides.size,
        sockets: this.sockets.filter((socket) => socket.readyState < 2).length,
        requests: this.fetches.filter((request) => request.pending && !request.keepalive).length,
      },
      { timers: 0, wakes: 0, hides: 0, sockets: 0, requests: 0 },
    );
  }
}
