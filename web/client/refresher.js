// A call's claim to fresh tokens: it joins the service, takes the tokens that are
// pushed, and comes back after every loss, until the call is over.

/** @import { Reports, Sdk } from "./binding.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Ended, Identity, Joined, Push, Refusal, ServerMessage, Service, Token } from "./protocol.js" */
/** @import { Bundle, Refused, Verdict } from "./delivery.js" */
/** @import { Store } from "./ticket.js" */

import { Binding, refusal } from "./binding.js";
import { Connection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { Emitter } from "./emitter.js";
import { renewByHttp } from "./http.js";
import { platform } from "./platform.js";
import { hasBundle, isFinal } from "./protocol.js";
import { Ticket } from "./ticket.js";
import { Alarms, Clock, backoff, failure } from "./time.js";

/**
 * @typedef {object} Options
 * @property {string} url the service's address: https://calls.example.com
 * @property {string | (() => string | Promise<string>)} [credential] from your back end, or what fetches one; asked anew for each session that is opened, and after a refusal. A service with --auth=none wants none
 * @property {Store | null} [storage] where a session outlives a reload of the page: sessionStorage where there is one; null: nowhere
 * @property {Partial<Platform>} [platform] replaces what a browser would have
 */

/** @typedef {"join" | "resume" | "schedule" | "renew" | "nack" | "role" | "certificate" | (string & {})} Cause of a bundle; the first two are the library's, and a newer service may have others */

/**
 * Why a session is over. "closed" is this library's, and so is "closed with …"
 * where the service gave no reason; from "unauthenticated" on they are errors.
 * @typedef {"left" | "closed" | "revoked" | "denied" | "expired" | "superseded" | "unauthenticated" | "forbidden" | "unknown_session" | "bad_request" | "rate_limited" | (string & {})} Reason
 */

/** @typedef {"connecting" | "live" | "away" | "ended"} State */
/** @typedef {"socket" | "http"} Via */

/**
 * How a bundle came.
 * @typedef {object} Origin
 * @property {number} seq
 * @property {Cause} cause
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
 * @property {Origin & {services: Service[], tookMs: number, marginMs: number}} renewed it is confirmed to the service. SDKs of these services took it, within tookMs, with marginMs of life left in the old tokens (below 0: none; Infinity: there were none). No services: no SDK was in the call, and the tokens are kept for the next join
 * @property {{seq: number, service: Service, code: string, message: string}} refused an SDK did not; the service makes another, unless this one refuses always and others took theirs
 * @property {{reason: string, retryInMs: number}} lost there is no connection; the next attempt follows. The tokens go on working
 * @property {{reason: Reason, code: number, message: string, accessEndsAt: number}} ended why, and until when tokens may still work (Unix seconds, 0: not known). Leave the call if the reason is "revoked", "denied" or "forbidden", and if it is "superseded": another page has it now
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
/** So often in a row an SDK's refusal counts for a bundle that others took. */
const mostRefusals = 3;
/** A push that is not here when this share of renewBefore is left is overdue. */
const overdueShare = 0.8;
/** How long an answer may take, over HTTP or to a renewal that was asked for on the connection. */
const answerTimeout = 8_000;
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
  /** @type {Ended | Refusal | null} what the service said last before it closed */
  #farewell = null;
  #renewBefore = 0; // seconds
  #heldUntil = 0; // Unix seconds: when the tokens end that were applied
  #askedAfter = -1; // the bundle after which a renewal was asked for
  /** @type {Promise<string> | null} what is fetched for the session that is to be opened */
  #auth = null;
  #distrusted = false; // the credential was refused, and another is tried
  /** @type {AbortController | null} ends the request for tokens that is under way */
  #asking = null;
  #askAgainAt = 0; // by the clock: not over HTTP before
  #failures = 0; // of that, in a row, and of what it brought

  /** @param {Identity & Options} options */
  constructor({ url, credential, storage, platform: own, rtc, rtm, chat, ttl, tokenFormat }) {
    const address = /^(?:http|ws)(s?:\/\/[^/?#]+[^?#]*?)\/*$/.exec(url)?.[1];
    if (!address || !(rtc || rtm || chat)) throw new TypeError("url, and rtc, rtm or chat, are needed");
    this.#identity = { rtc, rtm, chat, ttl, tokenFormat };
    this.#credential = credential;
    this.#sessions = `http${address}/v1/sessions`;
    this.#platform = platform(own);
    if (!this.#platform.WebSocket) throw new TypeError("no platform.WebSocket");
    // Two pages with uid 0, or with the channel *, are two calls. With any other identity they are one user twice.
    const { onHide } = this.#platform;
    const exclusive = !!onHide && (rtc?.uid === 0 || rtc?.channel === "*");
    this.#ticket = new Ticket(storage, `refresher ${address} ${JSON.stringify(this.#identity)}`, exclusive);
    if (exclusive) this.#undo.add(onHide(() => this.#ticket.store()));
    this.#clock = new Clock(this.#platform);
    this.#alarms = new Alarms(this.#platform, this.#clock);
    this.#delivery = new Delivery(
      (bundle) => this.#hand(bundle),
      (bundle, verdict) => this.#answer(bundle, verdict),
      (bundle) => this.#hasEnded(bundle),
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

  /** Who takes part in what, as the constructor was told. */
  get identity() {
    return this.#identity;
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
        this.#inUse.set(service, this.#delivery.seq);
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
   * Delivers the tokens of a service to an SDK. The modules in bindings/ call it for Agora's SDKs.
   * @param {Service} service
   * @param {Sdk} sdk
   * @returns {Reports & {unbind: () => void}} for an SDK without `listen`: the app calls these when the SDK's events tell it to
   */
  bind(service, sdk) {
    this.#known(service);
    const before = this.#bindings.get(service);
    const bindings = before ?? new Set();
    const binding = new Binding(sdk, this.#alarms, (own) => !this.#ended && bindings.has(own));
    // Some SDKs go on calling listeners that were removed.
    const heard = (/** @type {(failed?: boolean) => void} */ act) => (failed = false) => void (bindings.has(binding) && act(failed));
    /** @type {Reports} */
    const reports = {
      willExpire: heard(() => this.#warned()),
      expired: heard(() => void this.#expired(binding)),
      left: heard((failed) => binding.left(failed)),
      joined: heard(() => {
        const known = this.#inUse.has(service);
        if (!known) this.#inUse.set(service, 0); // in the call with a token from elsewhere
        if (binding.parked || (binding.out && !binding.joining)) binding.returned();
        else if (known || binding.joining) return;
        void this.#catchUp(service);
      }),
    };
    const stop = this.#ended ? null : sdk.listen?.(reports); // which may throw, and then nothing is bound
    // After another that is unbound: whoever took a token to join with may be gone with it.
    if (before?.size === 0 && sdk.isJoined?.() === false) this.#inUse.delete(service);
    this.#bindings.set(service, bindings.add(binding));
    void this.#catchUp(service);
    const unbind = () => {
      this.#undo.delete(unbind);
      stop?.();
      bindings.delete(binding);
      if (binding.parked && !bindings.size) this.#inUse.delete(service); // it has left: bound again, it must not be brought back
    };
    if (!this.#ended) this.#undo.add(unbind);
    return { ...reports, unbind };
  }

  /** Asks for fresh tokens now, by whatever way there is. */
  renew() {
    if (this.#ended) return;
    if (this.#connection.live) this.#connection.send({ type: "renew" });
    else void this.#renewByHttp();
  }

  /** Looks at the clock and the connection now: call it when the device woke up, where no page event tells. */
  wake() {
    this.#ticket.claim();
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
    this.#ticket.value = ticket;
    this.#ticket.store();
  }

  // The connection.

  async #hello() {
    this.#farewell = null;
    if (this.#ticket.value) return () => ({ type: "resume", ...this.#ticket.value });
    const auth = typeof this.#credential === "function" ? await this.#fetched(this.#credential) : this.#credential;
    return () => ({ type: "join", auth, ...this.#identity });
  }

  /**
   * A credential: one fetch for all attempts, so that an outage of the service is
   * none of the app's back end. What has expired meanwhile is refused with 4401.
   * @param {() => string | Promise<string>} fetch
   */
  #fetched(fetch) {
    if (!this.#auth) {
      this.#auth = this.#alarms.within(credentialTimeout, Promise.resolve().then(fetch), "credential").then((text) => {
        const auth = text.trim();
        if (!/^\S+$/.test(auth)) throw new Error("no credential"); // an error page, most likely
        return auth;
      });
      this.#auth.catch(() => {
        this.#auth = null;
      });
    }
    return this.#auth;
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
      case "error":
        this.#events.emit("error", failure(message.code, message.message));
      // falls through
      case "ended":
        this.#farewell = message;
    }
  }

  /** @param {ServerMessage} message */
  #puzzled({ type }) {
    this.#events.emit("error", new Error(`incomplete ${type}`));
  }

  /** @param {Joined} joined */
  #joined(joined) {
    this.#connection.joined(1000 * (joined.heartbeat >= 1 ? joined.heartbeat : usualHeartbeat));
    this.#distrusted = false;
    this.#auth = null;
    this.#failures = this.#askAgainAt = 0;
    this.#renewBefore = joined.renewBefore > 0 ? joined.renewBefore : 0;
    this.#ticket.keep({ seq: 0, expiresAt: 0, ...this.#ticket.value, session: joined.session, key: joined.key });
    this.#ticket.unproven = false;
    this.#setState("live");
    const rejoin = joined.resumed ? joined.action === "rejoin" : this.#heldUntil > 0 && this.#heldUntil * 1000 <= this.now();
    this.#arrived({ ...joined, action: rejoin ? "rejoin" : "renew" }, joined.resumed ? "resume" : "join", 1, "socket");
  }

  /** @param {{reason: string, retryInMs: number}} loss */
  #lost(loss) {
    if (this.#state === "live") this.#setState("away");
    if (!this.#ended) this.#events.emit("lost", loss);
    this.#guard();
  }

  /**
   * @param {number} code
   * @returns {number | undefined} when to come back, if not by the backoff
   */
  #closed(code) {
    const farewell = this.#farewell;
    const refused = farewell?.type === "error";
    if (!isFinal(code, farewell?.type)) return;
    const reason = (refused ? farewell.code : farewell?.reason) ?? `closed with ${code}`;
    const { value, unproven } = this.#ticket;
    if (value ? code === 4404 || reason === "expired" || unproven : code === 4401 && typeof this.#credential === "function" && !this.#distrusted) {
      this.#distrusted = !value;
      this.#again();
      return 0;
    }
    this.#end(reason, code, refused ? farewell.message : "", refused ? 0 : farewell?.accessEndsAt);
  }

  /** Lets a session go that is no more; the next connection opens another. */
  #again() {
    this.#auth = null;
    this.#ticket.drop();
    this.#delivery.reset();
    this.#askedAfter = -1;
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
    const { expiresAt } = this;
    const before = this.#delivery.seq;
    const bundle = {
      seq, tokens, cause, attempt, via,
      rejoin: action === "rejoin",
      expiresAt: Math.min(...Object.values(tokens).map((token) => token.expiresAt)),
      at: this.#clock.now(),
    };
    if (!this.#delivery.offer(bundle)) {
      if (!this.#connection.live || !this.#hasEnded(bundle)) return;
      this.#connection.wake(); // this clock may be ahead: the pong tells
      if (before !== this.#askedAfter) this.#ask();
      return;
    }
    if (bundle.expiresAt > expiresAt) this.#askAgainAt = 0;
    // What was asked for is no better than what there was, so no other will be.
    else if (before === this.#askedAfter) {
      this.#askedAfter = seq;
      this.#askAgainAt = Infinity;
    }
    this.#events.emit("tokens", describe(bundle));
    this.#look();
  }

  /** @param {Arrival} bundle */
  #hasEnded({ expiresAt }) {
    return expiresAt * 1000 <= this.now();
  }

  #look() {
    for (const look of [...this.#waiting]) look();
    this.#guard();
  }

  /**
   * Hands a bundle to all SDKs at once.
   * @param {Arrival} bundle
   * @returns {Promise<Verdict>}
   */
  async #hand({ tokens, rejoin }) {
    /** @type {Set<Service>} */
    const took = new Set();
    /** @type {Refused | null} of the SDK that has refused least often */
    let refused = null;
    let times = Infinity;
    const services = /** @type {[Service, Token][]} */ (Object.entries(tokens));
    await Promise.all(services.flatMap(([service, { token }]) => [...(this.#bindings.get(service) ?? [])].map(async (binding) => {
      try {
        if (await binding.apply(token, rejoin, this.#inUse.has(service))) took.add(service);
        binding.refusals = 0;
      } catch (error) {
        if (!binding.wanted() || ++binding.refusals > times) return; // it was left, or unbound, meanwhile
        times = binding.refusals;
        refused = { service, ...refusal(error) };
      }
    })));
    // One that always refuses is not to keep the others in new tokens without end.
    return { ok: !refused || (took.size > 0 && times > mostRefusals), took: [...took], refused: /** @type {any} */ (refused) };
  }

  /**
   * @param {Arrival} bundle
   * @param {Verdict} verdict
   */
  #answer(bundle, verdict) {
    if (this.#ended) return;
    const { seq, expiresAt } = bundle;
    if (verdict.refused) this.#events.emit("refused", { seq, ...verdict.refused });
    if (!verdict.ok) {
      const { code, message } = verdict.refused;
      this.#say({ type: "nack", seq, code, message });
      return this.#putOff();
    }
    this.#say({ type: "ack", seq });
    if (this.#ended || bundle.confirmed) return;
    bundle.confirmed = true;
    if (expiresAt > this.#heldUntil) this.#failures = 0;
    const marginMs = this.#heldUntil ? this.#heldUntil * 1000 - this.now() : Infinity;
    this.#heldUntil = expiresAt;
    if (this.#ticket.value) this.#ticket.keep({ ...this.#ticket.value, seq, expiresAt });
    this.#events.emit("renewed", { ...describe(bundle), services: verdict.took, marginMs, tookMs: this.#clock.now() - bundle.at });
  }

  /** @param {object} message is for this session only, and carried by the next resume if it is lost */
  #say(message) {
    if (this.#connection.live) this.#connection.send(message);
  }

  /** The SDK has warned that its token will run out. */
  #warned() {
    const { seq } = this.#delivery;
    if (seq === this.#askedAfter || this.now() < (this.#heldUntil - this.#renewBefore) * 1000) return; // nothing is late
    this.#ask();
  }

  /**
   * The SDK has left, since its token ran out.
   * @param {Binding} binding
   */
  async #expired(binding) {
    binding.expired();
    await null; // an SDK that says so has still to clean up
    if (binding.joining || !binding.wanted()) return; // what the rejoin under way comes to is told to the service
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
    const ask = live && this.#askedAfter !== newest.seq;
    const soonest = ask ? dueMs : Math.max(refused && !live ? 0 : dueMs, this.#askAgainAt - this.#clock.now());
    this.#alarms.set("guard", soonest, () => {
      if (!ask) return void this.#renewByHttp(); // there is no connection, or nobody there who listens
      this.#ask();
    });
  }

  /** Asks for tokens on the connection, once for each bundle. */
  #ask() {
    this.#askedAfter = this.#delivery.seq;
    this.renew();
    this.#putOff(answerTimeout);
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
    const askedAt = this.#clock.now();
    const asking = (this.#asking = new AbortController());
    let later;
    try {
      const request = renewByHttp(this.#platform, this.#sessions, ticket, asking.signal);
      const { push, over, retryInMs } = await this.#alarms.within(answerTimeout, request, "HTTP");
      if (this.#ended || this.#ticket.value?.session !== ticket.session) return;
      if (push) {
        const before = this.expiresAt;
        this.#clock.sync(push.now, this.#clock.now() - askedAt < answerTimeout);
        this.#arrived(push, push.cause, push.attempt, "http");
        if (this.expiresAt > before) return;
      } else if (over) {
        if (this.#ticket.value.key !== ticket.key) return; // another key is good meanwhile
        const { status, reason, message, accessEndsAt } = over;
        if (status !== 404 && reason !== "expired" && !this.#ticket.unproven) return this.#end(reason, status, message, accessEndsAt);
        this.#again();
        return this.#connection.restart();
      } else later = retryInMs;
    } catch (error) {
      if (this.#ended) return;
      this.#events.emit("error", error);
    } finally {
      this.#asking = null;
      asking.abort();
    }
    this.#putOff(later);
  }

  // The rest.

  /** @param {Service} service */
  #known(service) {
    if (!this.#identity[service]) throw new TypeError(`this call has no ${service}`);
  }

  /**
   * Newer tokens may have come than the one to join with, when nobody could hand them over.
   * @param {Service} service
   */
  async #catchUp(service) {
    if (this.#delivery.seq <= (this.#inUse.get(service) ?? Infinity)) return;
    await null; // an SDK that says it is back may not take a token before its event is over
    this.#delivery.repeat();
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
    if (reason === "left" && this.#ticket.unproven) this.#ticket.store();
    else this.#ticket.drop();
    this.#asking?.abort();
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
