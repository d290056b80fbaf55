// The session of one call: opens it, takes the tokens that the service pushes,
// resumes it after each loss of the connection, and ends it.

/** @import { Reports, Sdk } from "./binding.js" */
/** @import { Bundle, Outcome } from "./delivery.js" */
/** @import { BundleInfo, Cause, Events, State, Via } from "./events.js" */
/** @import { Transitions } from "./machine.js" */
/** @import { Platform } from "./platform.js" */
/** @import { ErrorMessage, Ended, Identity, Joined, Push, ServerMessage, Service } from "./protocol.js" */
/** @import { Answer } from "./http.js" */
/** @import { Store } from "./resume.js" */

import { Connection } from "./connection.js";
import { Credential } from "./credential.js";
import { DeliveryQueue } from "./delivery.js";
import { Emitter } from "./emitter.js";
import { EndedError } from "./events.js";
import { StateMachine } from "./machine.js";
import { platform as usePlatform } from "./platform.js";
import { hasBundle, isFinal } from "./protocol.js";
import { BindingRegistry } from "./registry.js";
import { Renewals } from "./renewals.js";
import { ResumeStore } from "./resume.js";
import { Alarms, Clock, failure } from "./time.js";

/**
 * @typedef {object} Options
 * @property {string} url address of the refresher service, such as "https://calls.example.com"
 * @property {string | (() => string | Promise<string>)} [credential] who the user is, signed by your back end: the credential itself, or a function that fetches one. The function is called once for each session that is opened, and again if the service refused the credential. Leave it out if the service runs with --auth=none
 * @property {Store | null} [storage] where the session is kept, so that it outlives a reload of the page: sessionStorage if you leave it out, nowhere if it is null
 * @property {Partial<Platform>} [platform] replaces parts of the browser: in tests, in Node.js and in React Native
 */

/** @typedef {NonNullable<Answer["over"]>} Over */
/** @typedef {"joined" | "lost" | "end"} SessionEvent */

/**
 * | state      | the session's connection                                 |
 * |------------|----------------------------------------------------------|
 * | connecting | was never live                                           |
 * | live       | is live: the service has answered join or resume         |
 * | away       | is lost; attempts to connect again go on                 |
 * | ended      | is closed for good: the session has ended, or was closed |
 *
 * The events: `joined` (the service has answered), `lost` (the connection, or an
 * attempt to connect, has failed), `end`.
 * @type {Transitions<State, SessionEvent>}
 */
export const sessionTransitions = {
  connecting: { joined: "live", lost: "connecting", end: "ended" },
  live: { joined: "live", lost: "away", end: "ended" },
  away: { joined: "live", lost: "away", end: "ended" },
  ended: {},
};

/** The heartbeat if the service does not say one, in seconds. */
const defaultHeartbeat = 25;

/**
 * Keeps the tokens of one call fresh. It connects as soon as it is constructed,
 * and works until leave() or close(), or until the service ends the session.
 */
export class Refresher {
  #identity;
  #clock;
  #alarms;
  #credential;
  #resume;
  #connection;
  #deliveries;
  #bindings;
  #renewals;
  /** @type {StateMachine<State, SessionEvent>} */
  #machine = new StateMachine(sessionTransitions, "connecting");
  /** @type {Emitter<Events>} */
  #events;
  /** How the session ended. @type {Events["ended"] | null} */
  #ended = null;
  /** The service's last message, if it was one that explains a close. @type {Ended | ErrorMessage | null} */
  #lastMessage = null;
  /** For each caller of token() that waits: checks whether there is a token now. @type {Set<() => void>} */
  #waiters = new Set();
  /** Removes the listeners for events of the page. @type {(() => void)[]} */
  #stopListening = [];

  /** @param {Identity & Options} options */
  constructor({ url, credential, storage, platform: ownPlatform, rtc, rtm, chat, ttl, tokenFormat }) {
    const address = /^(?:http|ws)(s?:\/\/[^/?#]+[^?#]*?)\/*$/.exec(url)?.[1];
    if (!address) throw new TypeError("url must be the service's address, such as https://calls.example.com");
    if (!(rtc || rtm || chat)) throw new TypeError("rtc, rtm or chat must be given");
    this.#identity = { rtc, rtm, chat, ttl, tokenFormat };
    const platform = usePlatform(ownPlatform);
    const { WebSocket, onHide, onWake } = platform;
    if (!WebSocket) throw new TypeError("no WebSocket here: pass one as platform.WebSocket");
    const clock = (this.#clock = new Clock(platform));
    const alarms = (this.#alarms = new Alarms(platform, clock));
    const events = (this.#events = new Emitter());
    this.#credential = new Credential(credential, alarms);
    // Two pages with uid 0, or with the channel *, are two calls. With any other identity they are the same user twice.
    const exclusive = !!onHide && (rtc?.uid === 0 || rtc?.channel === "*");
    const resume = (this.#resume = new ResumeStore(storage, `refresher ${address} ${JSON.stringify(this.#identity)}`, exclusive));
    if (exclusive) this.#stopListening.push(onHide(() => resume.save()));
    const on = {
      prepare: () => this.#prepare(),
      message: (/** @type {ServerMessage} */ message) => this.#onMessage(message),
      closed: (/** @type {number} */ code) => this.#onClosed(code),
      lost: (/** @type {Events["lost"]} */ loss) => this.#onLost(loss),
      received: (/** @type {Push} */ push) => this.#onBundle(push, push.cause, push.attempt, "http"),
      over: (/** @type {Over} */ { status, reason, message, accessEndsAt }) => {
        if (this.#reopenOrEnd(status, reason, message, accessEndsAt)) connection.restart();
      },
      error: (/** @type {unknown} */ error) => events.emit("error", error),
    };
    const connection = (this.#connection = new Connection({ url: `ws${address}/v1/ws`, platform, clock, alarms, on }));
    const deliveries = (this.#deliveries = new DeliveryQueue(
      (bundle) => this.#bindings.deliver(bundle),
      (bundle, outcome) => this.#answer(bundle, outcome),
      clock,
    ));
    this.#renewals = new Renewals({ url: `http${address}/v1/sessions`, platform, clock, alarms, connection, resume, deliveries, on });
    this.#bindings = new BindingRegistry(alarms, clock, deliveries, this.#renewals);
    this.#stopListening.push(onWake(() => this.wake()));
    void this.#connection.open();
  }

  /** Who takes part in what, as it was passed to the constructor. */
  get identity() {
    return this.#identity;
  }

  /** "connecting" until the service has answered for the first time, then "live", "away" while the connection is lost, and "ended" in the end. */
  get state() {
    return this.#machine.state;
  }

  /** The session's id, for the service's operators and logs; null until the service has answered. It is not secret. */
  get session() {
    return this.#resume.token?.session ?? null;
  }

  /** When the newest tokens expire, in Unix seconds by the service's clock; 0 before the first. */
  get expiresAt() {
    return this.#deliveries.expiresAt;
  }

  /** The time by the service's clock, in Unix milliseconds. */
  now() {
    return this.#clock.serverNow();
  }

  /**
   * Resolves with a token to join the call with: the newest one, or the first that
   * arrives. It has never expired already. Rejects with an EndedError if the session has ended.
   * @param {Service} service
   * @returns {Promise<string>}
   */
  async token(service) {
    this.#requireService(service);
    return new Promise((resolve, reject) => {
      const check = () => {
        const token = this.#deliveries.newest?.tokens[service];
        if (this.#ended) reject(new EndedError(this.#ended));
        else if (token && !this.#clock.hasPassed(token.expiresAt)) {
          resolve(token.token);
          this.#bindings.tokenTaken(service, this.#deliveries.seq);
        } else return;
        this.#waiters.delete(check);
      };
      this.#waiters.add(check);
      check();
    });
  }

  /**
   * Calls a listener at each event of that name.
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   * @returns {() => void} removes the listener
   */
  on(event, listener) {
    return this.#events.on(event, listener);
  }

  /**
   * Renews the tokens of an SDK from now on. For Agora's own SDKs call bindRtc,
   * bindRtm, bindStreamChannel, bindChat or bindEngine instead, which call this.
   * @param {Service} service
   * @param {Sdk} sdk
   * @returns {Reports & {unbind: () => void}} unbind ends it. The others are what `sdk.listen` gets, for an app that calls them itself
   */
  bind(service, sdk) {
    this.#requireService(service);
    const bound = this.#bindings.bind(service, sdk);
    if (this.#ended) bound.unbind();
    return bound;
  }

  /** Requests new tokens now, on the connection or, while there is none, over HTTP. */
  renew() {
    if (!this.#ended) this.#renewals.request();
  }

  /** Checks the connection and all deadlines now. Call it when the device woke up or changed its network, where the page has no event for that. */
  wake() {
    this.#resume.claim();
    this.#alarms.check();
    this.#connection.wake();
  }

  /** Ends the session: the call is over. */
  leave() {
    this.#connection.send({ type: "leave" });
    this.#end("left");
  }

  /** Stops, and keeps the session in the storage, so that this page resumes it after a reload. */
  close() {
    const { token } = this.#resume;
    this.#end("closed");
    this.#resume.token = token;
    this.#resume.save();
  }

  // The connection.

  /** Gets ready for a connection; returns what makes its first message. */
  async #prepare() {
    this.#lastMessage = null;
    if (this.#resume.token) return () => ({ type: "resume", ...this.#resume.token });
    const auth = await this.#credential.get();
    return () => ({ type: "join", auth, ...this.#identity });
  }

  /** @param {ServerMessage} message */
  #onMessage(message) {
    this.#lastMessage = null; // it explains a close only if nothing followed it
    switch (message.type) {
      case "joined":
        if (!hasBundle(message) || typeof message.session !== "string" || typeof message.key !== "string") return this.#onIncomplete(message);
        return this.#onJoined(message);
      case "token-privilege-will-expire":
      case "token-privilege-did-expire":
        if (!hasBundle(message)) return this.#onIncomplete(message);
        return this.#onBundle(message, message.cause, message.attempt, "socket");
      case "pong":
        return this.#onClock(); // it may have set the clock right
      case "reconnect":
        if (!Number.isSafeInteger(message.afterMs)) return this.#onIncomplete(message);
        return this.#connection.move(message.afterMs, message.reason);
      case "error":
        this.#events.emit("error", failure(message.code, message.message));
      // falls through
      case "ended":
        this.#lastMessage = message;
    }
  }

  /** @param {ServerMessage} message */
  #onIncomplete({ type }) {
    this.#events.emit("error", new Error(`incomplete ${type}`));
  }

  /** @param {Joined} joined */
  #onJoined(joined) {
    const { session, key, heartbeat, renewBefore, resumed } = joined;
    this.#connection.joined(1000 * (heartbeat >= 1 ? heartbeat : defaultHeartbeat));
    this.#credential.accepted();
    this.#renewals.connected(renewBefore);
    this.#resume.update({ seq: 0, expiresAt: 0, ...this.#resume.token, session, key });
    this.#resume.unproven = false;
    this.#dispatch("joined");
    // A new session knows nothing of the tokens that the SDKs have from the one before.
    const { appliedUntil } = this.#renewals;
    const rejoin = resumed ? joined.action === "rejoin" : appliedUntil > 0 && this.#clock.hasPassed(appliedUntil);
    this.#onBundle({ ...joined, action: rejoin ? "rejoin" : "renew" }, resumed ? "resume" : "join", 1, "socket");
  }

  /** @param {Events["lost"]} loss */
  #onLost(loss) {
    this.#dispatch("lost");
    if (this.#ended) return;
    this.#events.emit("lost", loss);
    this.#renewals.schedule();
  }

  /**
   * Decides what follows a close: the end, another session at once, or the next attempt.
   * @param {number} code
   * @returns {number | undefined} milliseconds to the next attempt, if not by the backoff
   */
  #onClosed(code) {
    const last = this.#lastMessage;
    if (!isFinal(code, last?.type)) return;
    const reopened = last?.type === "error" // which says nothing of the tokens
      ? this.#reopenOrEnd(code, last.code, last.message, 0)
      : this.#reopenOrEnd(code, last?.reason, "", last?.accessEndsAt);
    return reopened ? 0 : undefined;
  }

  /**
   * Decides what follows a session that the service has ended, or does not know: another session, or the end.
   * @param {number} code of the close, or the HTTP status
   * @param {string | undefined} reason
   * @param {string | undefined} message
   * @param {number | undefined} accessEndsAt
   * @returns {boolean} whether the next connection opens another session
   */
  #reopenOrEnd(code, reason, message, accessEndsAt) {
    const { token, unproven } = this.#resume;
    const reopen = token
      ? code === 4404 || code === 404 || reason === "expired" || unproven
      : code === 4401 && this.#credential.refused();
    if (!reopen) {
      this.#end(reason ?? `closed with ${code}`, code, message, accessEndsAt);
      return false;
    }
    this.#credential.discard();
    this.#resume.clear();
    this.#deliveries.reset();
    this.#bindings.reset();
    this.#renewals.reset();
    return true;
  }

  // The tokens.

  /**
   * @param {Joined | Push} message
   * @param {Cause} cause
   * @param {number} attempt
   * @param {Via} via
   */
  #onBundle({ seq, tokens, action }, cause, attempt, via) {
    if (this.#ended) return;
    const { seq: previousSeq, expiresAt: previousExpiresAt } = this.#deliveries;
    const bundle = {
      seq, tokens, cause, attempt, via,
      rejoin: action === "rejoin",
      expiresAt: Math.min(...Object.values(tokens).map((token) => token.expiresAt)),
      receivedAt: this.#clock.now(),
    };
    if (!this.#deliveries.offer(bundle)) return void (this.#clock.hasPassed(bundle.expiresAt) && this.#renewals.arrivedExpired());
    this.#renewals.arrived(previousSeq, previousExpiresAt);
    this.#events.emit("tokens", describe(bundle));
    this.#onClock();
  }

  /** Repeats what depends on the tokens and the time: the clock was set, or tokens arrived. */
  #onClock() {
    for (const check of [...this.#waiters]) check();
    this.#renewals.schedule();
  }

  /**
   * Tells the service and the app what became of a bundle.
   * @param {Bundle} bundle
   * @param {Outcome} outcome
   */
  #answer(bundle, { ok, took, refusal }) {
    if (this.#ended) return;
    const { seq, expiresAt } = bundle;
    if (refusal) this.#events.emit("refused", { seq, ...refusal });
    if (!ok) {
      this.#sendLive({ type: "nack", seq, code: refusal.code, message: refusal.message });
      return this.#renewals.backOff();
    }
    this.#sendLive({ type: "ack", seq });
    if (this.#ended || bundle.renewed) return;
    bundle.renewed = true;
    const marginMs = this.#renewals.applied(expiresAt);
    if (this.#resume.token) this.#resume.update({ ...this.#resume.token, seq, expiresAt });
    this.#events.emit("renewed", { ...describe(bundle), services: took, marginMs, tookMs: this.#clock.now() - bundle.receivedAt });
  }

  /** @param {object} message is about this session; if it is not sent, the next resume says the same */
  #sendLive(message) {
    if (this.#connection.live) this.#connection.send(message);
  }

  // The end.

  /** @param {Service} service */
  #requireService(service) {
    if (!this.#identity[service]) throw new TypeError(`this Refresher has no ${service}: pass it to the constructor`);
  }

  /** @param {SessionEvent} event */
  #dispatch(event) {
    const previous = this.state;
    if (this.#machine.dispatch(event)) this.#events.emit("state", { state: this.state, previous });
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
    // Left before the service was asked: the session goes on, for the next Refresher (React's StrictMode).
    if (reason === "left" && this.#resume.unproven) this.#resume.save();
    else this.#resume.clear();
    this.#renewals.stop();
    this.#bindings.close();
    for (const stop of this.#stopListening) stop();
    this.#dispatch("end");
    for (const check of [...this.#waiters]) check();
    this.#events.emit("ended", this.#ended);
  }
}

/**
 * @param {Bundle} bundle
 * @returns {BundleInfo}
 */
function describe({ tokens, receivedAt, renewed, ...info }) {
  return info;
}
