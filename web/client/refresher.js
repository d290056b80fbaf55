// A call's claim to fresh tokens: it joins the service, takes the tokens that are
// pushed, and comes back after every loss, until the call is over.

/** @import { Reports, RtcClient, RtmClient, Sdk } from "./binding.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Identity, Joined, Push, ServerMessage, Service } from "./protocol.js" */
/** @import { Bundle, Verdict } from "./delivery.js" */

import { Binding, listenRtc, listenRtm, rtcSdk, rtmSdk } from "./binding.js";
import { Connection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { Emitter } from "./emitter.js";
import { renewByHttp } from "./http.js";
import { platform } from "./platform.js";
import { hasBundle, terminal } from "./protocol.js";
import { Ticket } from "./ticket.js";
import { Alarms, Clock, backoff } from "./time.js";

/**
 * @typedef {object} Options
 * @property {string} url the service's address: https://calls.example.com
 * @property {string | (() => string | Promise<string>)} [credential] from your back end, or what fetches one; asked anew whenever a session is opened. A service with --auth=none wants none
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem"> | null} [storage] where a session outlives a reload of the page: sessionStorage where there is one; null: nowhere
 * @property {Partial<Platform>} [platform] replaces what a browser would have
 */

/** @typedef {"connecting" | "live" | "away" | "ended"} State */
/** @typedef {"socket" | "http"} Via */

/**
 * How a bundle came.
 * @typedef {object} Origin
 * @property {number} seq
 * @property {string} cause "join", "resume", or the service's: schedule, renew, nack, role, certificate
 * @property {number} attempt
 * @property {boolean} rejoin the tokens before it ran out
 * @property {number} expiresAt Unix seconds
 * @property {Via} via
 */

/** @typedef {Bundle & Origin & {at: number, confirmed?: boolean}} Arrival came at that time of the clock */

/**
 * What the events carry.
 * @typedef {object} Events
 * @property {{state: State, previous: State}} state
 * @property {Origin} tokens a new bundle arrived, and goes to the SDKs
 * @property {Origin & {tookMs: number, marginMs: number}} renewed the SDKs took it, within tookMs, with marginMs of life left in the old tokens (below 0: none; Infinity: there were none)
 * @property {{seq: number, service: Service, code: string, message: string}} refused an SDK did not, and the service makes another
 * @property {{reason: string, retryInMs: number}} lost there is no connection; the next attempt follows. The tokens go on working
 * @property {{reason: string, code: number, message: string, accessEndsAt: number}} ended why, and until when tokens may still work (Unix seconds, 0: not known). Leave the call if the reason is "revoked", "denied" or "forbidden"
 * @property {unknown} error something went wrong that is tried again: fetching a credential, most likely
 */

/** Why there will be no more tokens. */
export class EndedError extends Error {
  /** @param {Events["ended"]} ended */
  constructor(ended) {
    super(`the session has ended: ${ended.reason}${ended.message && ` (${ended.message})`}`);
    this.name = "EndedError";
    this.reason = ended.reason;
    this.ended = ended;
  }
}

/** How long a credential may take to be fetched, in milliseconds. */
const credentialTimeout = 30_000;
/** A push that is not here when this share of renewBefore is left is overdue. */
const overdueShare = 0.8;
const httpTimeout = 8_000;
const usualHeartbeat = 25; // seconds, if the service does not say

/** Keeps the tokens of one call fresh, from its construction until leave or close. */
export class Refresher {
  #identity;
  #credential;
  #platform;
  #clock;
  #alarms;
  #connection;
  #ticket;
  #sessions; // address of their renewals
  /** @type {Emitter<Events>} */
  #events = new Emitter();
  /** @type {Delivery<Arrival>} */
  #delivery;
  /** @type {Map<Service, Set<Binding>>} */
  #bindings = new Map();
  /** @type {Map<Service, number>} somebody took a token of these to join with, of that bundle */
  #inUse = new Map();
  /** @type {Set<() => void>} of those who wait for a token: looks whether there is one */
  #waiting = new Set();
  /** @type {Set<() => void>} what is to be undone in the end */
  #undo = new Set();
  /** @type {State} */
  #state = "connecting";
  /** @type {Events["ended"] | null} */
  #ended = null;
  /** @type {{reason: string, message: string, accessEndsAt: number, final: boolean} | null} what the service said last before it closed */
  #farewell = null;
  #renewBefore = 0; // seconds
  #heldUntil = 0; // Unix seconds: when the tokens end that were applied
  #askedAfter = 0; // the bundle after which a renewal was asked for
  #wasLive = false;
  #anew = false; // the session is opened anew, after one that is no more
  #asking = false; // over HTTP
  #askAgainAt = 0; // by the clock: not over HTTP before
  #failures = 0; // of that, in a row, and of what it brought

  /** @param {Identity & Options} options */
  constructor({ url, credential, storage, platform: own, rtc, rtm, chat, ttl }) {
    if (!rtc && !rtm && !chat) throw new TypeError("rtc, rtm or chat is needed");
    const address = /^(?:http|ws)(s?:\/\/[^/?#]+[^?#]*?)\/*$/.exec(url)?.[1];
    if (!address) throw new TypeError("url is no address of a service");
    this.#identity = { rtc, rtm, chat, ttl };
    this.#credential = credential;
    this.#sessions = `http${address}/v1/sessions`;
    this.#platform = platform(own);
    if (!this.#platform.WebSocket) throw new TypeError("platform.WebSocket is needed here");
    this.#ticket = new Ticket(storage, `refresher ${address} ${JSON.stringify(this.#identity)}`);
    this.#clock = new Clock(this.#platform);
    this.#alarms = new Alarms(this.#platform, this.#clock);
    this.#delivery = new Delivery(
      (service, token, rejoin) => this.#apply(service, token, rejoin),
      (bundle, verdict) => this.#answer(bundle, verdict),
    );
    this.#connection = new Connection({
      url: `ws${address}/v1/ws`,
      platform: this.#platform,
      clock: this.#clock,
      alarms: this.#alarms,
      on: {
        prepare: () => this.#hello(),
        message: (message) => this.#receive(message),
        closed: (code) => this.#closed(code),
        lost: (loss) => this.#lost(loss),
        error: (error) => this.#events.emit("error", error),
      },
    });
    this.#undo.add(this.#platform.onWake(() => this.wake()));
    void this.#connection.open();
  }

  /** "connecting" before the first answer, "live", "away" while the connection is lost, and "ended". */
  get state() {
    return this.#state;
  }

  /** The session's id, by which operators know it; null before the first answer. It is no secret. */
  get session() {
    return this.#ticket.value?.session ?? null;
  }

  /** When the newest tokens end, in Unix seconds by the service's clock; 0 before the first. */
  get expiresAt() {
    return this.#delivery.newest?.expiresAt ?? 0;
  }

  /** The service's clock, in Unix milliseconds. */
  now() {
    return this.#clock.serverNow();
  }

  /**
   * A token to join with: the newest, or the first that comes; never one that has
   * run out. Rejects with an EndedError if there will be none.
   * @param {Service} service
   * @returns {Promise<string>}
   */
  async token(service) {
    this.#known(service);
    return new Promise((resolve, reject) => {
      const look = () => {
        const token = this.#delivery.newest?.tokens[service];
        if (this.#ended) reject(new EndedError(this.#ended));
        else if (token && this.now() < token.expiresAt * 1000) resolve(token.token);
        else return;
        this.#inUse.set(service, this.#delivery.newest?.seq ?? 0);
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   * @returns {() => void} takes the listener away again
   */
  on(event, listener) {
    return this.#events.on(event, listener);
  }

  /**
   * Hands the tokens of a service to whatever uses them.
   * @param {Service} service
   * @param {Sdk} sdk
   * @returns {Reports & {unbind: () => void}} what to call when the SDK says something of its token
   */
  bind(service, sdk) {
    return this.#bind(service, sdk, () => () => {});
  }

  /**
   * Keeps a client of agora-rtc-sdk-ng in tokens.
   * @param {RtcClient} client
   * @param {{rejoin?: (token: string) => unknown}} [app] rejoin joins the call again and publishes, after the SDK had to leave
   * @returns {() => void} unbinds
   */
  bindRtc(client, { rejoin } = {}) {
    return this.#bind("rtc", rtcSdk(client, rejoin), (reports) => listenRtc(client, reports)).unbind;
  }

  /**
   * Keeps a client of agora-rtm 2 in tokens.
   * @param {RtmClient} client
   * @param {{rejoin?: (token: string) => unknown}} [app] rejoin logs out, and in again
   * @returns {() => void} unbinds
   */
  bindRtm(client, { rejoin } = {}) {
    return this.#bind("rtm", rtmSdk(client, rejoin), (reports) => listenRtm(client, reports)).unbind;
  }

  /** Asks for fresh tokens now, by whatever way there is. */
  renew() {
    if (this.#ended) return;
    if (this.#connection.live) this.#connection.send({ type: "renew" });
    else void this.#renewByHttp();
  }

  /** Looks at the clock and the connection now: call it when the device woke up, where no page event tells. */
  wake() {
    this.#alarms.check();
    this.#connection.wake();
  }

  /** The call is over: ends the session. */
  leave() {
    this.#connection.send({ type: "leave" });
    this.#end("left");
  }

  /** Stops, and leaves the session to whoever has its key: this page, after a reload. */
  close() {
    const ticket = this.#ticket.value;
    this.#end("closed");
    if (ticket) this.#ticket.keep(ticket);
  }

  // The connection.

  async #hello() {
    this.#farewell = null;
    if (!this.#ticket.value) {
      const credential = this.#credential;
      if (typeof credential !== "function") return () => ({ type: "join", auth: credential, ...this.#identity });
      const fetched = await this.#alarms.within(credentialTimeout, credential(), () => new Error("the credential came too late"));
      const auth = fetched.trim();
      if (!/^\S+$/.test(auth)) throw new Error("no credential was fetched"); // an error page, most likely
      return () => ({ type: "join", auth, ...this.#identity });
    }
    return () => ({ type: "resume", ...this.#ticket.value });
  }

  /** @param {ServerMessage} message */
  #receive(message) {
    this.#farewell = null; // what was said before something else was none
    switch (message.type) {
      case "joined":
        if (!hasBundle(message) || typeof message.session !== "string" || typeof message.key !== "string") return this.#puzzled(message);
        return this.#joined(message);
      case "token-privilege-will-expire":
      case "token-privilege-did-expire":
        if (!hasBundle(message)) return this.#puzzled(message);
        return this.#arrived(message, message.cause, message.attempt, "socket");
      case "pong":
        return this.#look(); // the clock may have been set right
      case "reconnect":
        if (!Number.isSafeInteger(message.afterMs)) return this.#puzzled(message);
        return this.#connection.move(message.afterMs, message.reason);
      case "ended":
        this.#farewell = { reason: message.reason, message: "", accessEndsAt: message.accessEndsAt, final: true };
        return;
      case "error":
        this.#farewell = { reason: message.code, message: message.message, accessEndsAt: 0, final: false };
        this.#events.emit("error", Object.assign(new Error(message.message), { code: message.code }));
    }
  }

  /** @param {ServerMessage} message */
  #puzzled({ type }) {
    this.#events.emit("error", new Error(`${type} lacks something`));
  }

  /** @param {Joined} joined */
  #joined(joined) {
    this.#connection.joined(1000 * (joined.heartbeat >= 1 ? joined.heartbeat : usualHeartbeat));
    this.#wasLive = true;
    this.#anew = false;
    this.#failures = this.#askAgainAt = 0;
    this.#renewBefore = joined.renewBefore > 0 ? joined.renewBefore : 0;
    const { seq = 0, expiresAt = 0 } = this.#ticket.value ?? {};
    this.#ticket.keep({ session: joined.session, key: joined.key, seq, expiresAt });
    this.#ticket.unproven = false;
    this.#setState("live");
    const rejoin = joined.resumed ? joined.action === "rejoin" : this.#heldUntil > 0 && this.#heldUntil * 1000 <= this.now();
    this.#arrived({ ...joined, action: rejoin ? "rejoin" : "renew" }, joined.resumed ? "resume" : "join", 1, "socket");
  }

  /** @param {{reason: string, retryInMs: number}} loss */
  #lost(loss) {
    this.#setState(this.#wasLive ? "away" : "connecting");
    if (!this.#ended) this.#events.emit("lost", loss);
    this.#guard();
  }

  /** @param {number} code */
  #closed(code) {
    const farewell = this.#farewell;
    if (!terminal.has(code) && !(code === 1000 ? farewell?.final : code === 1009 && farewell)) return;
    const reason = farewell?.reason ?? `closed with ${code}`;
    const { value, unproven } = this.#ticket;
    const another = value ? code === 4404 || reason === "expired" || unproven : code === 4401 && typeof this.#credential === "function";
    if (another && !this.#anew) this.#again();
    else this.#end(reason, code, farewell?.message, farewell?.accessEndsAt);
  }

  /** Lets a session go that is no more; the next connection opens another. */
  #again() {
    this.#anew = true;
    this.#ticket.drop();
    this.#delivery.reset();
    this.#askedAfter = 0;
  }

  // The tokens.

  /**
   * @param {Joined | Push} message
   * @param {string} cause
   * @param {number} attempt
   * @param {Via} via
   */
  #arrived({ seq, tokens, action }, cause, attempt, via) {
    if (this.#ended) return;
    const before = this.#delivery.newest;
    const bundle = {
      seq, tokens, cause, attempt, via,
      rejoin: action === "rejoin",
      expiresAt: Math.min(...Object.values(tokens).map((token) => token.expiresAt)),
      at: this.#clock.now(),
    };
    if (!this.#delivery.offer(bundle)) return;
    // What was asked for is no better than what there was, so no other will be.
    if (before && before.seq === this.#askedAfter && before.expiresAt >= bundle.expiresAt) this.#askedAfter = seq;
    this.#events.emit("tokens", describe(bundle));
    this.#look();
  }

  #look() {
    for (const look of [...this.#waiting]) look();
    this.#guard();
  }

  /**
   * @param {Service} service
   * @param {string} token
   * @param {boolean} rejoin
   */
  async #apply(service, token, rejoin) {
    const bindings = [...(this.#bindings.get(service) ?? [])];
    const outcomes = await Promise.allSettled(bindings.map((binding) => binding.apply(token, rejoin, this.#inUse.has(service))));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  /**
   * @param {Arrival} bundle
   * @param {Verdict} verdict
   */
  #answer(bundle, verdict) {
    if (this.#ended) return;
    const { seq, expiresAt } = bundle;
    if (!verdict.ok) {
      const { service, code, message } = verdict;
      this.#say({ type: "nack", seq, code, message });
      this.#putOff();
      this.#events.emit("refused", { seq, service, code, message });
      return;
    }
    this.#say({ type: "ack", seq });
    if (bundle.confirmed) return;
    bundle.confirmed = true;
    if (expiresAt > this.#heldUntil) this.#failures = 0;
    const marginMs = this.#heldUntil ? this.#heldUntil * 1000 - this.now() : Infinity;
    this.#heldUntil = expiresAt;
    if (this.#ticket.value) this.#ticket.keep({ ...this.#ticket.value, seq, expiresAt });
    this.#events.emit("renewed", { ...describe(bundle), marginMs, tookMs: this.#clock.now() - bundle.at });
  }

  /** @param {object} message is for this session only, and carried by the next resume if it is lost */
  #say(message) {
    if (this.#connection.live) this.#connection.send(message);
  }

  /** The SDK has warned that its token will run out. */
  #warned() {
    const seq = this.#delivery.newest?.seq ?? 0;
    if (seq === this.#askedAfter || this.now() < (this.#heldUntil - this.#renewBefore) * 1000) return; // nothing is late
    this.#askedAfter = seq;
    this.renew();
  }

  /**
   * The SDK has left, since its token ran out.
   * @param {Binding} binding
   */
  async #expired(binding) {
    binding.out = true;
    binding.parked = false;
    await null; // an SDK that says so has still to clean up
    if (!binding.wanted()) return;
    if (this.expiresAt * 1000 > this.now() + 1000) this.#delivery.repeat();
    else this.renew();
  }

  /** Sees to it that the newest tokens are not the last, when no push comes. */
  #guard() {
    const { newest, refused } = this.#delivery;
    if (!newest) return;
    const { live } = this.#connection;
    const dueMs = (newest.expiresAt - overdueShare * this.#renewBefore) * 1000 - this.now();
    // Of a refusal while away the service does not know: others are to be asked for.
    const soonest = live ? dueMs : Math.max(refused ? 0 : dueMs, this.#askAgainAt - this.#clock.now());
    this.#alarms.set("guard", soonest, () => {
      if (!this.#connection.live) void this.#renewByHttp();
      else if (this.#askedAfter !== newest.seq) {
        this.#askedAfter = newest.seq;
        this.renew();
      }
    });
  }

  /**
   * Does not ask over HTTP again for a while.
   * @param {number} [leastMs]
   */
  #putOff(leastMs = 0) {
    this.#askAgainAt = this.#clock.now() + Math.max(leastMs, backoff(++this.#failures, this.#platform.random));
    this.#guard();
  }

  async #renewByHttp() {
    const ticket = this.#ticket.value;
    if (!ticket || this.#asking) return;
    this.#asking = true;
    const abort = new AbortController();
    const stop = () => abort.abort();
    this.#undo.add(stop);
    let retryInMs = 0;
    try {
      const request = renewByHttp(this.#platform, this.#sessions, ticket, abort.signal);
      const answer = await this.#alarms.within(httpTimeout, request, () => new Error("no answer over HTTP"));
      if (this.#ended || this.#ticket.value?.session !== ticket.session) return;
      if ("push" in answer) {
        const { push } = answer;
        const before = this.expiresAt;
        this.#clock.sync(push.now);
        this.#arrived(push, push.cause, push.attempt, "http");
        if (this.expiresAt > before) return;
      } else if ("over" in answer) {
        if (this.#ticket.value.key !== ticket.key) return; // another key is good meanwhile
        const { status, reason, message, accessEndsAt } = answer.over;
        if (status !== 404 && reason !== "expired" && !this.#ticket.unproven) return this.#end(reason, status, message, accessEndsAt);
        this.#again();
        return this.#connection.restart();
      } else retryInMs = answer.retryInMs;
    } catch (error) {
      if (this.#ended) return;
      this.#events.emit("error", error);
    } finally {
      this.#asking = false;
      this.#undo.delete(stop);
      stop();
    }
    this.#putOff(retryInMs);
  }

  // The rest.

  /** @param {Service} service */
  #known(service) {
    if (!this.#identity[service]) throw new TypeError(`this call has no ${service}`);
  }

  /**
   * @param {Service} service
   * @param {Sdk} sdk
   * @param {(reports: Reports) => () => void} listen
   */
  #bind(service, sdk, listen) {
    this.#known(service);
    const bindings = this.#bindings.get(service) ?? new Set();
    const binding = new Binding(sdk, this.#alarms, (own) => !this.#ended && bindings.has(own));
    /** @type {Reports} */
    const reports = {
      warned: () => this.#warned(),
      expired: () => void this.#expired(binding),
      left: () => binding.left(),
      back: () => {
        if (!binding.parked) return;
        binding.parked = false;
        this.#catchUp(service);
      },
    };
    const mute = this.#ended ? () => {} : listen(reports); // which may throw, and then nothing is bound
    this.#bindings.set(service, bindings.add(binding));
    this.#catchUp(service);
    const unbind = () => {
      this.#undo.delete(unbind);
      mute();
      bindings.delete(binding);
    };
    if (!this.#ended) this.#undo.add(unbind);
    return { ...reports, unbind };
  }

  /**
   * Newer tokens may have come than the one to join with, when nobody could hand them over.
   * @param {Service} service
   */
  #catchUp(service) {
    if ((this.#delivery.newest?.seq ?? 0) > (this.#inUse.get(service) ?? Infinity)) this.#delivery.repeat();
  }

  /** @param {State} state */
  #setState(state) {
    const previous = this.#state;
    this.#state = state;
    if (state !== previous) this.#events.emit("state", { state, previous });
  }

  /**
   * @param {string} reason
   * @param {number} [code]
   * @param {string} [message]
   * @param {number} [accessEndsAt]
   */
  #end(reason, code = 1000, message = "", accessEndsAt = this.expiresAt) {
    if (this.#ended) return;
    this.#ended = { reason, code, message, accessEndsAt };
    this.#connection.close();
    this.#alarms.stop();
    // Left before anybody was asked: the session goes on, and is the next one's (React's StrictMode).
    if (reason !== "left" || !this.#ticket.unproven) this.#ticket.drop();
    for (const undo of [...this.#undo]) undo();
    this.#setState("ended");
    for (const look of [...this.#waiting]) look();
    this.#events.emit("ended", this.#ended);
  }
}

/**
 * A bundle without its tokens.
 * @param {Arrival} bundle
 * @returns {Origin}
 */
function describe({ tokens, at, confirmed, ...origin }) {
  return origin;
}
