// The session of one call. Joins, receives the tokens that the service pushes, resumes after each loss of the
// connection, and ends.

/** @import { Bundle, Outcome } from "./delivery.js" */
/** @import { Cause, Events, State, Via } from "./events.js" */
/** @import { Answer } from "./http.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Ended, ErrorMessage, Identity, Joined, Push, ServerMessage, Service } from "./protocol.js" */
/** @import { Options } from "./refresher.js" */
/** @import { SessionEvent } from "./states.js" */

import { Connection } from "./connection.js";
import { Credential } from "./credential.js";
import { DeliveryQueue, describeBundle } from "./delivery.js";
import { Diagnosis } from "./diagnose.js";
import { Emitter } from "./emitter.js";
import { EndedError } from "./events.js";
import { leaveByHttp } from "./http.js";
import { hasBundle, isFinal } from "./protocol.js";
import { BindingRegistry } from "./registry.js";
import { Renewals } from "./renewals.js";
import { ResumeStore } from "./resume.js";
import { sessionTransitions, transition } from "./states.js";
import { Alarms, Clock, failure } from "./time.js";

/** @typedef {NonNullable<Answer["over"]>} Over */
/** The interval between pings in seconds, if `joined` has none. */
const defaultHeartbeat = 25;

/** Connects the parts of a session: each part reaches the other parts through the session. */
export class Session {
  platform;
  /** The service's URL after "http" or "ws", such as "s://calls.example.com"; requests put one of the two in front. */
  address;
  clock;
  alarms;
  resume;
  connection;
  deliveries;
  bindings;
  renewals;
  /** @type {Emitter<Events>} */
  events = new Emitter();
  #diagnosis = new Diagnosis(this);
  identity;
  #credential;
  /** @type {State} */
  state = "connecting";
  /** Why and when the session ended; null before that. @type {Events["ended"] | null} */
  #ended = null;
  /**
   * The service's last message, if it was `ended` or `error`: the reason of the close that follows.
   * @type {Ended | ErrorMessage | null}
   */
  #lastMessage = null;
  /** The functions that wake the waiting calls of token(). @type {((value?: unknown) => void)[]} */
  #waiters = [];
  /** @type {(() => void)[]} */
  #stopListening;

  /**
   * @param {string} address
   * @param {Identity} identity
   * @param {Pick<Options, "credential" | "storage">} options
   * @param {Platform} platform
   */
  constructor(address, identity, { credential, storage }, platform) {
    const { rtc } = identity;
    const { onHide } = platform;
    this.platform = platform;
    this.address = address;
    this.identity = identity;
    this.clock = new Clock(platform);
    this.alarms = new Alarms(platform, this.clock);
    this.#credential = new Credential(credential, this.alarms);
    // With uid 0 or the channel *, two pages are two separate users, so a duplicated tab must not resume this
    // page's session. With any other identity, two pages are the same user.
    const exclusive = !!onHide && (rtc?.uid === 0 || rtc?.channel === "*");
    this.resume = new ResumeStore(storage, `refresher ${address} ${JSON.stringify(identity)}`, exclusive);
    this.connection = new Connection(this);
    this.deliveries = new DeliveryQueue(this);
    this.renewals = new Renewals(this);
    this.bindings = new BindingRegistry(this);
    this.#stopListening = [platform.onWake(() => this.wake())];
    if (exclusive) this.#stopListening.push(onHide(() => this.resume.save()));
    void this.connection.open();
  }

  /**
   * @param {Service} service
   * @returns {Promise<string>}
   */
  async token(service) {
    for (;;) {
      if (this.#ended) throw new EndedError(this.#ended);
      const token = this.deliveries.newest?.tokens[service];
      if (token && !this.clock.hasPassed(token.expiresAt)) {
        this.bindings.tokenTaken(service, this.deliveries.seq);
        return token.token;
      }
      await new Promise((resolve) => this.#waiters.push(resolve));
    }
  }

  wake() {
    if (this.#ended) return;
    this.resume.claim();
    this.alarms.check();
    this.connection.wake();
  }

  /**
   * Ends the session, at the service too. A page that is closing also leaves over HTTP, since Firefox loses the
   * WebSocket messages of such a page.
   */
  leave() {
    if (this.#ended) return;
    const { token, unproven } = this.resume;
    this.connection.send({ type: "leave" });
    if (token && !unproven && (!this.connection.live || this.platform.isHidden?.())) leaveByHttp(this, token).catch((error) => this.onError(error));
    this.#end("left");
  }

  close() {
    this.#end("closed");
  }

  // The connection.

  /** Fetches a credential if there is no session to resume. Returns a function that makes the first message. */
  async prepare() {
    this.#lastMessage = null;
    if (this.resume.token) return () => ({ type: "resume", ...this.resume.token });
    let auth;
    try {
      auth = await this.#credential.get();
    } catch (error) {
      this.#diagnosis.credentialFailed(error);
      throw error;
    }
    return () => ({ type: "join", auth, ...this.identity });
  }

  /** @param {ServerMessage} message */
  onMessage(message) {
    this.#lastMessage = null; // only the last message before a close is its reason
    switch (message.type) {
      case "joined":
        if (!hasBundle(message) || typeof message.session !== "string" || typeof message.key !== "string") return this.#onIncomplete(message);
        return this.#onJoined(message);
      case "token-privilege-will-expire":
      case "token-privilege-did-expire":
        if (!hasBundle(message)) return this.#onIncomplete(message);
        return this.#onBundle(message, message.cause, message.attempt, "socket");
      case "pong":
        return this.#onClock(); // the pong may have corrected the clock
      case "reconnect":
        if (!Number.isSafeInteger(message.afterMs)) return this.#onIncomplete(message);
        return this.connection.move(message.afterMs, message.reason);
      case "error":
        this.#diagnosis.refused(message.code, message.message, this.#credential.given);
        this.onError(failure(message.code, message.message));
      // falls through
      case "ended":
        this.#lastMessage = message;
    }
  }

  /** @param {ServerMessage} message */
  #onIncomplete({ type }) {
    this.onError(new Error(`incomplete ${type}`));
  }

  /** @param {unknown} error of an operation that is retried */
  onError(error) {
    this.events.emit("error", error);
  }

  /** @param {Joined} joined */
  #onJoined(joined) {
    const { session, key, heartbeat, renewBefore, resumed } = joined;
    this.connection.joined(1000 * (heartbeat >= 1 ? heartbeat : defaultHeartbeat));
    this.#credential.accepted();
    this.renewals.connected(renewBefore);
    this.resume.update({ seq: 0, expiresAt: 0, ...this.resume.token, session, key });
    this.resume.unproven = false;
    this.#dispatch("joined");
    // Only the client knows the expiry of the tokens that the SDKs still have from the previous session.
    const { appliedUntil } = this.renewals;
    const rejoin = resumed ? joined.action === "rejoin" : appliedUntil > 0 && this.clock.hasPassed(appliedUntil);
    this.#onBundle({ ...joined, action: rejoin ? "rejoin" : "renew" }, resumed ? "resume" : "join", 1, "socket");
  }

  /** @param {Events["lost"]} loss */
  onLost(loss) {
    this.#dispatch("lost");
    if (this.#ended) return;
    this.#diagnosis.notConnected(loss.reason);
    this.events.emit("lost", loss);
    this.renewals.schedule();
  }

  /**
   * Decides what follows a close: the session's end, a new session at once, or another attempt to
   * connect.
   * @param {number} code
   * @returns {number | undefined} milliseconds to the next attempt; undefined for the backoff
   */
  onClosed(code) {
    const last = this.#lastMessage;
    if (!isFinal(code, last?.type)) return;
    const reopened = last?.type === "error" // an `error` has no accessEndsAt
      ? this.#reopenOrEnd(code, last.code, last.message, 0)
      : this.#reopenOrEnd(code, last?.reason, "", last?.accessEndsAt);
    return reopened ? 0 : undefined;
  }

  /**
   * Decides what follows if the service has ended the session or does not know it: a new session, or the event
   * `ended`.
   * @param {number} code the close code, or the HTTP status
   * @param {string | undefined} reason
   * @param {string | undefined} message
   * @param {number | undefined} accessEndsAt
   * @returns {boolean} whether the next connection opens a new session
   */
  #reopenOrEnd(code, reason, message, accessEndsAt) {
    const { token, unproven } = this.resume;
    const reopen = token
      ? code === 4404 || code === 404 || reason === "expired" || unproven
      : code === 4401 && this.#credential.refused();
    if (!reopen) {
      this.#end(reason ?? `closed with ${code}`, code, message, accessEndsAt);
      return false;
    }
    this.#credential.discard();
    this.resume.clear();
    this.deliveries.reset();
    this.bindings.reset();
    this.renewals.reset();
    return true;
  }

  // The tokens.

  /** @param {Push} push that arrived over HTTP */
  onPush(push) {
    this.resume.unproven = false;
    this.#onBundle(push, push.cause, push.attempt, "http");
  }

  /** @param {Over} over the answer over HTTP that there are no more tokens */
  onOver({ status, reason, message, accessEndsAt }) {
    if (this.#reopenOrEnd(status, reason, message, accessEndsAt)) this.connection.restart(reason);
  }

  /**
   * @param {Joined | Push} message
   * @param {Cause} cause
   * @param {number} attempt
   * @param {Via} via
   */
  #onBundle({ seq, tokens, action }, cause, attempt, via) {
    const { seq: previousSeq, expiresAt: previousExpiresAt } = this.deliveries;
    const bundle = {
      seq, tokens, cause, attempt, via,
      rejoin: action === "rejoin",
      expiresAt: Math.min(...Object.values(tokens).map((token) => token.expiresAt)),
      receivedAt: this.clock.now(),
    };
    const isNew = this.deliveries.offer(bundle);
    if (this.#ended) return; // a listener of "state", or an SDK that accepted its token, may have called leave()
    if (isNew) {
      this.renewals.arrived(previousSeq, previousExpiresAt);
      this.events.emit("tokens", describeBundle(bundle));
      this.#onClock();
    } else if (this.clock.hasPassed(bundle.expiresAt)) this.renewals.arrivedExpired();
  }

  /** Updates everything that depends on the newest tokens or on the clock, after one of them has changed. */
  #onClock() {
    for (const wake of this.#waiters.splice(0)) wake();
    this.renewals.schedule();
  }

  /**
   * Reports the outcome of a delivery to the service and to the app.
   * @param {Bundle} bundle
   * @param {Outcome} outcome
   */
  onDelivered(bundle, { ok, took, refusal }) {
    if (this.#ended) return;
    const { seq, expiresAt } = bundle;
    if (refusal) this.events.emit("refused", { seq, ...refusal });
    if (!ok) {
      this.#sendLive({ type: "nack", seq, code: refusal.code, message: refusal.message });
      return this.renewals.backOff();
    }
    this.#sendLive({ type: "ack", seq });
    if (this.#ended || bundle.renewed) return;
    bundle.renewed = true;
    const marginMs = this.renewals.applied(expiresAt);
    if (this.resume.token) this.resume.update({ ...this.resume.token, seq, expiresAt });
    this.events.emit("renewed", { ...describeBundle(bundle), services: took, marginMs, tookMs: this.clock.now() - bundle.receivedAt });
  }

  /** @param {object} message an ack or nack of this session. Without a live connection it is dropped, since the next resume says which bundle was applied */
  #sendLive(message) {
    if (this.connection.live) this.connection.send(message);
  }

  // The end.

  /** @param {SessionEvent} event */
  #dispatch(event) {
    const previous = this.state;
    this.state = transition(sessionTransitions, previous, event);
    if (this.state !== previous) this.events.emit("state", { state: this.state, previous });
  }

  /**
   * @param {string} reason
   * @param {number} [code]
   * @param {string} [message]
   * @param {number} [accessEndsAt]
   */
  #end(reason, code = 1000, message = "", accessEndsAt = this.deliveries.expiresAt) {
    if (this.#ended) return;
    this.#ended = { reason, code, message, accessEndsAt };
    this.connection.close();
    this.alarms.stop();
    // The next Refresher can resume a session that was closed. It can also resume a session that was left
    // before the service had answered, which happens in React's StrictMode.
    if (reason === "closed" || (reason === "left" && this.resume.unproven)) this.resume.save();
    else this.resume.clear();
    this.renewals.stop();
    this.bindings.close();
    for (const stop of this.#stopListening) stop();
    this.#dispatch("end");
    for (const wake of this.#waiters.splice(0)) wake();
    this.events.emit("ended", this.#ended);
  }
}
