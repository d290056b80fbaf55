// What surrounds a Refresher in its tests: a device with its clocks and timers,
// the service's end of each connection, and Agora's SDKs. Nothing in here waits
// for real time or touches a network.

import assert from "node:assert/strict";

import { Refresher } from "../index.js";

export const second = 1000;
export const minute = 60 * second;
export const hour = 60 * minute;
export const day = 24 * hour;

const longestTimeout = 2 ** 31 - 1;
const serviceHeartbeat = 25; // seconds: --heartbeat of the service
const patience = 2000; // events at one moment: more of them are a loop without end

/** Lets all promises that can settle do so. */
export const settle = () => new Promise((resolve) => void setImmediate(resolve));

/** A device, the page on it, and the world outside. */
export class World {
  /** The true time, which is the service's clock, in Unix milliseconds. */
  time = 1_796_040_000_000;
  /** How far the device's clock is ahead of it. */
  wallError = 0;
  /** The device's steady clock. */
  steady = 5_000;
  /** What the device takes for chance. @type {number | (() => number)} */
  random = 1;
  /** Timers ring at whole multiples of this only, as in a background page. */
  throttle = 0;
  /** Nothing runs on the device, or in the page. */
  asleep = false;
  /** Nothing lets a WebSocket through. */
  blocked = false;
  /** Who answers sockets and requests, where the test does not do it by hand. @type {{connects(socket: object): void, asks(request: object): void} | null} */
  service = null;
  sockets = [];
  fetches = [];
  wakes = new Set();
  hides = new Set();
  /** What the page's console would have as uncaught. */
  uncaught = [];
  events = [];
  keys = 0;

  #timers = new Map();
  #timerIds = 0;
  #outside = [];

  /** @param {import("node:test").TestContext} [t] at whose end nothing may have gone uncaught */
  constructor(t) {
    t?.after(() => assert.deepEqual(this.uncaught, [], "nothing goes uncaught"));
    const world = this;
    this.platform = {
      WebSocket: class extends Socket {
        constructor(url, protocols) {
          super(world, url, protocols);
        }
      },
      fetch: (url, init) => new Promise((resolve, reject) => {
        world.fetches.push(new Fetch(url, init, resolve, reject));
        world.service?.asks(world.fetches.at(-1));
      }),
      setTimeout: (run, ms) => {
        const delay = ms > 0 && ms <= longestTimeout ? ms : 0; // real ones ring at once beyond that
        let at = world.steady + delay;
        if (world.throttle) at = Math.ceil(at / world.throttle) * world.throttle;
        world.#timers.set(++world.#timerIds, { at, run });
        return world.#timerIds;
      },
      clearTimeout: (id) => void world.#timers.delete(id),
      wallNow: () => world.time + world.wallError,
      steadyNow: () => world.steady,
      random: () => (typeof world.random === "function" ? world.random() : world.random),
      onHide: (hide) => {
        world.hides.add(hide);
        return () => void world.hides.delete(hide);
      },
      onWake: (wake) => {
        world.wakes.add(wake);
        return () => void world.wakes.delete(wake);
      },
    };
  }

  /** A Refresher in this world, whose events are kept in `events`. */
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

  /** The newest socket opens, and join or resume is answered. */
  async join(joined = {}) {
    await settle();
    const { socket } = this;
    await socket.opens();
    await socket.says(this.joined({ resumed: socket.sent.at(-1).type === "resume", ...joined }));
    return socket;
  }

  /** Loses the connection, and resumes on the next. */
  async resume(joined = {}) {
    await this.socket.closes(1006);
    await this.nextSocket();
    return this.join(joined);
  }

  /** Waits out the backoff. */
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

  /** The details of the events of that name. */
  saw(name) {
    return this.events.filter(({ event }) => event === name).map(({ detail }) => detail);
  }

  /** The time in Unix seconds, some milliseconds from now. */
  seconds(ms = 0) {
    return Math.floor((this.time + ms) / second);
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

  push({ ttl, services, uid, expiresAt, action = "renew", ...fields } = {}) {
    return {
      type: `token-privilege-${action === "rejoin" ? "did" : "will"}-expire`, tokens: this.tokens({ ttl, services, uid, expiresAt }),
      previousExpiresAt: 0, action, attempt: 1, cause: "schedule", now: this.time, ...fields,
    };
  }

  /** Time passes, and everything happens that is due in it. */
  async pass(ms) {
    const end = this.time + ms;
    await settle();
    for (let last = -1, events = 0; ; ) {
      const next = this.#next();
      if (!next || next.at > end) break;
      this.#advance(Math.max(0, next.at - this.time));
      events = this.time === last ? events + 1 : 0;
      last = this.time;
      if (events > patience) throw new Error("time stands still: something goes round in a circle");
      this.run(next.take());
      await settle();
    }
    this.#advance(end - this.time);
  }

  /**
   * The device sleeps, or the page is frozen: nothing happens on it, and its
   * steady clock may stand still. The service hears nothing either, not even an
   * answer to a WebSocket's own pings, and closes for that (docs/protocol.md);
   * a page with throttled timers has its pings answered by the browser.
   */
  async sleep(ms, { steady = false } = {}) {
    await settle();
    const end = this.time + ms;
    this.asleep = true;
    for (const socket of this.sockets) {
      const silent = ms > 2 * Math.max(serviceHeartbeat, socket.heartbeat) * second && !this.service && socket.answersPings;
      if (silent) this.at(end + 20, () => socket.readyState === 1 && void socket.closes(4001)); // which lies in wait
    }
    if (steady) this.steady += ms;
    for (;;) {
      const next = this.#outside.filter((event) => event.elsewhere && event.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.time = Math.max(this.time, next.at);
      this.#outside.splice(this.#outside.indexOf(next), 1);
      next.run();
    }
    this.time = end;
    this.asleep = false;
  }

  /** The page goes away, or into the browser's cache of pages. */
  hide() {
    for (const hide of [...this.hides]) this.run(hide);
  }

  /** The page is told that it may have slept, or has another network. */
  async wake() {
    for (const wake of [...this.wakes]) this.run(wake);
    await settle();
  }

  /**
   * Something happens outside of the page at that time.
   * @param {number} time
   * @param {() => void} run
   * @param {boolean} [elsewhere] and not on this device, so that it does not wait while that sleeps
   */
  at(time, run, elsewhere = false) {
    this.#outside.push({ at: time, run, elsewhere });
  }

  /** What a browser calls: its errors end in the console. */
  run(callback) {
    try {
      callback();
    } catch (error) {
      this.uncaught.push(error);
    }
  }

  /** Nothing of the library is left on the page. */
  assertEmpty() {
    assert.deepEqual(
      {
        timers: this.#timers.size, wakes: this.wakes.size, hides: this.hides.size,
        sockets: this.sockets.filter((socket) => socket.readyState < 2).length,
        requests: this.fetches.filter((request) => request.pending).length,
      },
      { timers: 0, wakes: 0, hides: 0, sockets: 0, requests: 0 },
    );
  }

  #advance(ms) {
    this.time += ms;
    this.steady += ms;
  }

  #next() {
    let next = null;
    for (const [id, { at, run }] of this.#timers) {
      const due = this.time + at - this.steady;
      if (!next || due < next.at) next = { at: due, take: () => (this.#timers.delete(id), run) };
    }
    for (const event of this.#outside) {
      if (!next || event.at < next.at) next = { at: event.at, take: () => (this.#outside.splice(this.#outside.indexOf(event), 1), event.run) };
    }
    return next;
  }
}

/** A WebSocket, with the service's end of it: opens, says, closes. */
class Socket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  readyState = 0;
  /** Messages, but for pings. */
  sent = [];
  /** When those were sent. */
  pings = [];
  answersPings = true;
  /** What joined said, in seconds; before that, the service waits for a first message. */
  heartbeat = Infinity;
  closedWith = null;
  #world;

  constructor(world, url, protocols) {
    Object.assign(this, { url, protocols });
    this.#world = world;
    world.sockets.push(this);
    world.service?.connects(this);
    if (world.blocked) world.at(world.time, () => this.readyState === 0 && void this.closes(1006));
  }

  send(data) {
    if (this.readyState === 0) throw new Error("InvalidStateError: it is not open yet");
    if (this.readyState !== 1) return;
    const message = JSON.parse(data);
    this.heard?.(message);
    if (message.type !== "ping") return void this.sent.push(message);
    this.pings.push(this.#world.time);
    if (this.answersPings) this.#world.at(this.#world.time, () => this.readyState === 1 && void this.says({ type: "pong", now: this.#world.time }));
  }

  close(code = 1000) {
    if (code !== 1000 && !(code >= 3000 && code < 5000)) throw new Error(`InvalidAccessError: ${code}`);
    if (this.readyState > 1) return;
    this.closedWith = code;
    this.readyState = 2;
    this.#world.at(this.#world.time + 50, () => this.#ends(code));
  }

  /** What was sent since it was last asked. */
  take() {
    return this.sent.splice(0);
  }

  async opens() {
    assert.equal(this.readyState, 0, "it waits to be opened");
    this.readyState = 1;
    this.#world.run(() => this.onopen?.({}));
    await settle();
  }

  /** @param {unknown} message text as it is, anything else as JSON */
  async says(message) {
    assert.equal(this.readyState, 1, "it is open");
    if (message.type === "joined") this.heartbeat = message.heartbeat;
    this.#world.run(() => this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) }));
    await settle();
  }

  async closes(code = 1006) {
    assert.ok(this.readyState < 2, "it is not closed yet");
    this.readyState = 3;
    if (code === 1006) this.#world.run(() => this.onerror({})); // in Node.js, an error that nobody hears is thrown
    this.#ends(code);
    await settle();
  }

  /** Says why, and closes. */
  async refuses(code, error = "bad_request", message = "no") {
    await this.says({ type: "error", code: error, message });
    await this.closes(code);
  }

  /** Says that the session is over, and closes. */
  async endsWith(reason, code = 4410, accessEndsAt = 0) {
    await this.says({ type: "ended", reason, accessEndsAt });
    await this.closes(code);
  }

  #ends(code) {
    this.readyState = 3;
    this.#world.run(() => this.onclose?.({ code }));
  }
}

/** A request that waits for its answer. */
class Fetch {
  pending = true;
  #resolve;
  #reject;

  constructor(url, { method, headers, body, signal }, resolve, reject) {
    Object.assign(this, { url, method, headers, body: JSON.parse(body) });
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener("abort", () => this.#settle(reject, new DOMException("aborted", "AbortError")));
  }

  /** @param {unknown} body an object, or the text of what is no JSON */
  async answers(status, body = {}, headers = {}) {
    const json = async () => (typeof body === "string" ? JSON.parse(body) : structuredClone(body));
    this.#settle(this.#resolve, { status, headers: new Headers(headers), json });
    await settle();
  }

  async fails() {
    this.#settle(this.#reject, new TypeError("Failed to fetch"));
    await settle();
  }

  #settle(how, value) {
    this.pending = false;
    how(value);
  }
}

/** A token whose holder and expiry the fake SDKs can read. */
export function token(service, uid, expiresAt, more = "0123456789") {
  return `007${btoa(JSON.stringify({ service, uid, expiresAt, more }))}`;
}

const read = (token) => JSON.parse(atob(token.slice(3)));

/** What both SDKs have in common: events, and tokens that end. */
class SdkClient {
  /** The tokens that it took, and how. @type {{by: "join" | "renew", token: string, expiresAt: number}[]} */
  taken = [];
  /** When above 0: how long it thinks about a token. */
  latency = 0;
  /** It does not answer. */
  hangs = false;
  /** What it refuses the next token with. */
  refusal = null;
  busy = 0;
  /** How many tokens it was given side by side at most. */
  mostBusy = 0;
  token = null;
  world;
  uid;
  #listeners = new Map();

  constructor(world, uid = 1001) {
    this.world = world;
    this.uid = uid;
  }

  get listeners() {
    return [...this.#listeners.values()].flatMap((listeners) => [...listeners]).length;
  }

  listen(event, listener) {
    this.#listeners.set(event, (this.#listeners.get(event) ?? new Set()).add(listener));
  }

  unlisten(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  /** Calls the listeners, whose errors it only logs. */
  says(event, ...details) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) this.world.run(() => listener(...details));
  }

  /** When its token ends, in Unix seconds. */
  get expiresAt() {
    return this.token ? read(this.token).expiresAt : 0;
  }

  async consider(token, by, error) {
    this.mostBusy = Math.max(this.mostBusy, ++this.busy);
    try {
      if (this.hangs) await new Promise(() => {});
      if (this.latency) await new Promise((resolve) => void this.world.at(this.world.time + this.latency, resolve));
      if (this.refusal) throw this.refusal;
      const { uid, expiresAt } = read(token);
      if (uid !== this.uid) throw error("UNEXPECTED_RESPONSE", "110: the token is another user's");
      if (expiresAt * second <= this.world.time) throw error("UNEXPECTED_RESPONSE", "109: the token has expired");
      if (by === "renew" && !this.inCall()) throw error("INVALID_OPERATION", "renewToken should not be called before user join");
      this.token = token;
      this.taken.push({ by, token, expiresAt });
      this.world.at(expiresAt * second - 30 * second, () => this.token === token && this.inCall() && this.warns());
      this.world.at(expiresAt * second, () => this.token === token && this.inCall() && this.expires());
    } finally {
      this.busy--;
    }
  }
}

const error = (code, message) => Object.assign(new Error(message), { code });

/** agora-rtc-sdk-ng's client, as far as tokens go. */
export class RtcClient extends SdkClient {
  connectionState = "DISCONNECTED";
  on = this.listen;
  off = this.unlisten;
  #leaving = false;
  #joins = 0;

  inCall() {
    return this.connectionState === "CONNECTED" || this.connectionState === "RECONNECTING";
  }

  async join(token) {
    if (this.#leaving) throw error("OPERATION_ABORTED", "it is still leaving: what was begun now is undone");
    if (this.connectionState !== "DISCONNECTED") throw error("INVALID_OPERATION", "Client already in connecting/connected state");
    const mine = ++this.#joins;
    this.#becomes("CONNECTING");
    try {
      await this.consider(token, "join", error);
    } catch (reason) {
      if (mine === this.#joins) this.#becomes("DISCONNECTED", "LEAVE"); // it says so of a join that failed, too
      throw reason;
    }
    if (mine !== this.#joins) throw error("OPERATION_ABORTED", "it was left meanwhile");
    this.#becomes("CONNECTED");
  }

  async renewToken(token) {
    if (!this.inCall()) throw error("INVALID_OPERATION", "renewToken should not be called before user join");
    await this.consider(token, "renew", error);
  }

  /** The user hangs up, or, for another reason, the SDK was thrown out or gave up. */
  leave(reason = "LEAVE") {
    if (this.connectionState === "DISCONNECTED") return;
    this.#joins++;
    this.#becomes("DISCONNECTING");
    this.#becomes("DISCONNECTED", reason);
  }

  #becomes(state, reason) {
    const before = this.connectionState;
    this.connectionState = state;
    this.says("connection-state-change", state, before, reason);
  }

  warns() {
    this.says("token-privilege-will-expire");
  }

  /** It leaves, says so, and cleans up after that. */
  expires() {
    this.#leaving = true;
    this.leave("TOKEN_EXPIRE");
    this.says("token-privilege-did-expire");
    this.#leaving = false;
  }
}

/**
 * agora-rtm's client, as far as tokens go: from 2.2 on, whose events its types
 * describe (RTMEvents.LinkStateEvent). It has a login, and stream channels.
 */
export class RtmClient extends SdkClient {
  state = "IDLE";
  addEventListener = this.listen;
  removeEventListener = this.unlisten;
  /** The tokens that its stream channels took. @type {{channelName: string, token: string}[]} */
  renewedChannels = [];

  static error(code, reason) {
    return { error: true, reason, operation: "renewToken", errorCode: code === "INVALID_OPERATION" ? -10002 : -10005 };
  }

  inCall() {
    return this.state === "CONNECTED";
  }

  async login(token) {
    await this.consider(token, "join", RtmClient.error);
    this.becomes("CONNECTED", "LOGIN_SUCCESS");
  }

  async logout() {
    this.becomes("IDLE", "LOGOUT");
  }

  becomes(currentState, reasonCode) {
    const previousState = this.state;
    this.state = currentState;
    this.linkState({ currentState, previousState, serviceType: "MESSAGE", reasonCode });
  }

  /** Something happens to a stream channel. */
  streams(channelName, currentState, reasonCode) {
    this.linkState({ currentState, previousState: "CONNECTED", serviceType: "STREAM", reasonCode, affectedChannels: [channelName] });
  }

  linkState(link) {
    this.says("linkState", {
      operation: "SERVER_REJECT", reason: "for people", affectedChannels: [], unrestoredChannels: [], isResumed: false, timestamp: this.world.time, ...link,
    });
  }

  async renewToken(token, options) {
    if (options?.channelName) this.renewedChannels.push({ channelName: options.channelName, token });
    else await this.consider(token, "renew", RtmClient.error);
  }

  /** @param {string} [channel] of a stream channel's token, which is not a session's */
  warns(channel = "") {
    this.says("tokenPrivilegeWillExpire", channel);
  }

  expires(reasonCode = "TOKEN_EXPIRED") {
    this.becomes("FAILED", reasonCode);
  }
}

/** agora-rtm 2.1: its types have no linkState, and a `status` without the state before. */
export class OldRtmClient extends RtmClient {
  becomes(state, reason) {
    this.state = state === "IDLE" ? "DISCONNECTED" : state;
    this.says("status", { state: this.state, reason });
  }
}

/** agora-react-native-rtm 2.2: by its types, a linkState has numbers (RtmLinkState, RtmServiceType, RtmLinkStateChangeReason). */
export class NativeRtmClient extends RtmClient {
  static #states = { IDLE: 0, CONNECTED: 2, FAILED: 5 };
  static #reasons = { LOGIN_SUCCESS: 2, LOGOUT: 7, LEAVE: 15, INVALID_TOKEN: 16, TOKEN_EXPIRED: 17, SAME_UID_LOGIN: 27 };

  linkState({ currentState, previousState, serviceType, reasonCode, ...link }) {
    super.linkState({
      ...link,
      currentState: NativeRtmClient.#states[currentState],
      previousState: NativeRtmClient.#states[previousState],
      serviceType: serviceType === "MESSAGE" ? 1 : 2,
      reasonCode: NativeRtmClient.#reasons[reasonCode],
    });
  }
}
