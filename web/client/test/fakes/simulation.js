// A simulated page with a network. Its Refresher opens sockets and sends requests, and the test acts as the
// service.

import assert from "node:assert/strict";

import { Refresher } from "../../index.js";
import { Device } from "./device.js";
import { FakeRequest } from "./request.js";
import { FakeSocket } from "./socket.js";
import { second, settle } from "./time.js";
import { token } from "./tokens.js";

/** The service's longest heartbeat by default (its flag --heartbeat), in seconds. */
const serviceHeartbeat = 25;

export class Simulation extends Device {
  blocked = false;
  /** The object that answers sockets and requests; null if the test answers them itself. @type {{connects(socket: object): void, asks(request: object): void} | null} */
  service = null;
  sockets = [];
  fetches = [];
  /** @type {{event: string, detail: any}[]} */
  events = [];
  /** The number of resume keys so far, so that each key is different. */
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

  /** Makes a Refresher on this page, and records its events in `events`. */
  refresher(options = {}) {
    const refresher = new Refresher({
      url: "https://calls.example.com", rtc: { channel: "daily", uid: 1001, role: "publisher" }, storage: null, platform: this.platform, ...options,
    });
    for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
      refresher.on(event, (detail) => void this.events.push({ event, detail }));
    }
    return refresher;
  }

  /** Makes a Refresher that joins. Resolves with the Refresher and its live socket. */
  async live(options = {}, joined = {}) {
    const refresher = this.refresher(options);
    const socket = await this.join(joined);
    socket.take();
    return { refresher, socket };
  }

  /** Opens the newest socket, and answers the join or resume. */
  async join(joined = {}) {
    await settle();
    const { socket } = this;
    await socket.opens();
    await socket.says(this.joined({ resumed: socket.sent.at(-1).type === "resume", ...joined }));
    return socket;
  }

  /** Breaks the connection, and lets the next one resume. */
  async resume(joined = {}) {
    await this.socket.closes(1006);
    await this.nextSocket();
    return this.join(joined);
  }

  /** Waits for the library's next attempt to connect. */
  async nextSocket() {
    const before = this.sockets.length;
    for (let waited = 0; this.sockets.length === before; waited += 10) {
      assert.ok(waited <= 20 * second, "there is another attempt");
      await this.pass(10);
    }
    return this.socket;
  }

  get socket() {
    return this.sockets.at(-1);
  }

  saw(name) {
    return this.events.filter(({ event }) => event === name).map(({ detail }) => detail);
  }

  tokens({ ttl = 3600, services = ["rtc"], uid = 1001, expiresAt = this.seconds() + ttl } = {}) {
    return Object.fromEntries(services.map((service) => [service, { token: token(service, uid, expiresAt), expiresAt }]));
  }

  joined({ ttl, services, uid, expiresAt, ...fields } = {}) {
    return {
      type: "joined", session: "session-1", key: `key-${++this.keys}`, resumed: false, seq: 1, heartbeat: serviceHeartbeat, renewBefore: 300,
      tokens: this.tokens({ ttl, services, uid, expiresAt }), now: this.time, ...fields,
    };
  }

  /** Makes the message that pushes a bundle. */
  push({ ttl, services, uid, expiresAt, action = "renew", ...fields } = {}) {
    return {
      type: `token-privilege-${action === "rejoin" ? "did" : "will"}-expire`, tokens: this.tokens({ ttl, services, uid, expiresAt }),
      previousExpiresAt: 0, action, attempt: 1, cause: "schedule", now: this.time, ...fields,
    };
  }

  /**
   * Advances the time while the device sleeps. The service gets no answer, not even to its WebSocket pings, so
   * it closes the socket. (With throttled timers, the browser would answer the pings.)
   */
  async sleep(ms, options = {}) {
    await settle();
    const end = this.time + ms;
    for (const socket of this.sockets) {
      const silent = ms > 2 * Math.max(serviceHeartbeat, socket.heartbeat) * second && !this.service && socket.answersPings;
      // The page gets the close event when the device is awake.
      if (silent) this.at(end + 20, () => socket.readyState === 1 && void socket.closes(4001));
    }
    await super.sleep(ms, options);
  }

  /**
   * Asserts that the library has left nothing on the page, except a leave over HTTP, which may outlive the
   * page.
   */
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
