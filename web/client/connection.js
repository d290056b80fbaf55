// The connection to the service. It opens one WebSocket after another, with backoff, and detects
// dead ones. It does not know tokens or sessions.

/** @import { Platform, WebSocketLike } from "./platform.js" */
/** @import { Alarms, Clock } from "./time.js" */
/** @import { ServerMessage } from "./protocol.js" */

import { subprotocol } from "./protocol.js";
import { backoff } from "./time.js";

/**
 * How long a socket may take to open, in milliseconds. After that, the next attempt begins at once.
 * After failures, Firefox delays connections to a host for up to a minute, and then connects the socket that is waiting
 * at that moment. So there must be no gap between attempts. Closing an attempt does not extend Firefox's delay.
 */
const connectTimeout = 60_000;
/** The longest wait for the answer to join, resume or ping, in milliseconds. */
const answerTimeout = 10_000;
/** The longest wait for a pong if the connection may be dead, in milliseconds. */
const probeTimeout = 5_000;
/** The shortest limit for the wait for a pong, in milliseconds. */
const minPongTimeout = 2_000;
/** A connection that was live for this long, in milliseconds, resets the count of failures. */
const stableAfter = 5_000;
/** If an alarm rings later than this, in milliseconds, the device slept or the timers were throttled. The answer may have come in time, so the connection sends a second ping. */
const lateLimit = 2_000;
/** If an attempt has taken longer than this, in milliseconds, wake() replaces it by another. */
const restartAfter = 1_000;
/** The close code for a socket that the library abandons. The service then keeps the session, so that it can be resumed. */
const resumable = 4000;

/**
 * The session's members that the connection uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {() => Promise<() => object>} prepare is called before each attempt; returns a function that makes the first message when the socket is open
 * @property {(message: ServerMessage) => void} onMessage a message arrived
 * @property {(code: number) => number | undefined} onClosed the service, or a proxy, has closed the socket with that code. Returns milliseconds to the next attempt, or undefined for the backoff; it may call close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost the connection is lost, or the attempt has failed; the next attempt follows in retryInMs
 * @property {(error: unknown) => void} onError something failed, and is retried
 */

/**
 * An attempt to connect. When its socket is open, it is the connection.
 * @typedef {{socket?: WebSocketLike, open?: boolean}} Attempt
 */

export class Connection {
  #clock;
  #alarms;
  #session;
  /** Whether close() was called. */
  #closed = false;
  /** How many attempts in a row have failed. */
  #failures = 0;
  /** When the service answered join or resume, by the clock; -1 before the answer. */
  #joinedAt = -1;
  /** When the current attempt began, by the clock. */
  #startedAt = 0;
  /** The interval between pings, in milliseconds. */
  #heartbeat = 0;
  /** How long the service may take to answer a ping, in milliseconds. Short-lived tokens have a short heartbeat, and then this is shorter too. */
  #pongTimeout = answerTimeout;
  /** Whether a second ping was sent, because the device may have slept when the first answer was due. */
  #probed = false;
  /** The times at which unanswered messages (join, resume, ping) were sent, by the clock, oldest first. The service answers in this order. @type {number[]} */
  #unanswered = [];
  /** The current attempt. Socket events of earlier attempts are ignored. @type {Attempt | null} */
  #attempt = null;

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
    this.#clock = session.clock;
    this.#alarms = session.alarms;
  }

  /** Whether the service has answered join or resume on this connection. */
  get live() {
    return this.#joinedAt >= 0;
  }

  /** Begins an attempt now. It replaces the current one. */
  async open() {
    if (this.#closed) return;
    this.#discard();
    /** @type {Attempt} */
    const attempt = {};
    this.#attempt = attempt;
    this.#startedAt = this.#clock.now();
    let firstMessage;
    try {
      firstMessage = await this.#session.prepare();
      if (this.#attempt !== attempt) return;
      attempt.socket = new this.#session.platform.WebSocket(`ws${this.#session.address}/v1/ws`, subprotocol);
    } catch (error) {
      if (this.#attempt !== attempt) return;
      this.#session.onError(error);
      return this.#lost(firstMessage ? "not connected" : "no credential was fetched");
    }
    this.#expectAnswer(connectTimeout);
    const { socket } = attempt;
    socket.onopen = () => {
      if (this.#attempt !== attempt) return;
      attempt.open = true;
      this.#ask(firstMessage());
      this.#alarms.clear("answer");
      this.#expectAnswer(answerTimeout);
    };
    socket.onmessage = ({ data }) => {
      if (this.#attempt === attempt) this.#receive(data);
    };
    socket.onerror = () => {}; // onclose follows
    socket.onclose = ({ code }) => {
      if (this.#attempt !== attempt) return;
      this.#lost(`closed with ${code}`, this.#session.onClosed(code));
    };
  }

  /** @param {object} message dropped if no socket is open: the service repeats each message that needs an answer */
  send(message) {
    if (!this.#attempt?.open) return;
    try {
      this.#attempt.socket?.send(JSON.stringify(message));
    } catch {
      // Some sockets throw while they are closing. Nothing is lost: onclose follows, the client
      // resumes, and the service repeats its last bundle.
    }
  }

  /**
   * Records that the service answered join or resume: the connection is live.
   * @param {number} heartbeatMs
   */
  joined(heartbeatMs) {
    this.#joinedAt = this.#clock.now();
    this.#heartbeat = heartbeatMs;
    this.#pongTimeout = Math.min(answerTimeout, Math.max(minPongTimeout, 2 * heartbeatMs));
    this.#alarms.clear("answer");
    this.#schedulePing();
  }

  /**
   * Connects again after a time that the service has set. The current socket stays open until then,
   * unless the service closes it.
   * @param {number} afterMs
   * @param {string} reason
   */
  move(afterMs, reason) {
    this.#alarms.set("move", afterMs, () => {
      if (this.#attempt) this.#lost(reason, 0);
      else void this.open();
    });
  }

  /**
   * Pings a live connection. If there is none, begins an attempt now, unless the service has set
   * the time of the next attempt. An attempt that has taken longer than restartAfter is replaced:
   * it may use a network that is gone. It must be closed first, since browsers open one WebSocket
   * to a host at a time.
   */
  wake() {
    if (this.live) this.#probe();
    else if (this.#attempt ? this.#clock.now() - this.#startedAt > restartAfter : this.#alarms.left("move") === Infinity) void this.open();
  }

  /**
   * Abandons the current attempt and begins another at once, because the session has ended.
   * @param {string} reason
   */
  restart(reason) {
    if (this.#attempt) this.#lost(reason, 0);
  }

  /** Closes the connection. No attempt follows. */
  close() {
    this.#closed = true;
    this.#discard();
    this.#alarms.clear("move");
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#probed = false;
    if (this.live) this.#alarms.clear("answer"); // before `joined` arrives, no message is the answer to the first one
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return this.#session.onError(new Error("not JSON"));
    }
    this.#clock.sync(message?.now, this.#isPrompt(message?.type));
    if (typeof message?.type === "string") this.#session.onMessage(message);
    this.#alarms.check(); // in a background page, a message may arrive while the timer is delayed, so due alarms ring now
  }

  /**
   * Whether a message is the answer to a join, resume or ping that was sent within the last
   * pongTimeout. Any other message may have waited in the socket while the page was frozen, so its
   * `now` may be old. That includes a message that arrives soon after an overdue ping.
   * @param {unknown} type
   */
  #isPrompt(type) {
    if (type !== "pong" && type !== "joined") return false;
    const sentAt = this.#unanswered.shift() ?? -Infinity;
    return this.#clock.now() - sentAt <= this.#pongTimeout;
  }

  /** @param {object} question join, resume or ping: each has one answer */
  #ask(question) {
    this.#unanswered.push(this.#clock.now());
    this.send(question);
  }

  #schedulePing() {
    this.#alarms.set("ping", this.#heartbeat, () => {
      this.#ask({ type: "ping" });
      this.#expectAnswer(this.#pongTimeout);
      this.#schedulePing();
    });
  }

  #probe() {
    this.#ask({ type: "ping" });
    this.#expectAnswer(Math.min(probeTimeout, this.#pongTimeout));
  }

  /**
   * Sets the time by which an answer must arrive.
   * @param {number} ms from now; a deadline that is already set and earlier stays
   */
  #expectAnswer(ms) {
    if (this.#alarms.left("answer") <= ms) return;
    this.#alarms.set("answer", ms, (lateMs) => {
      if (this.#attempt && !this.#attempt.open) return this.#lost("no answer", 0);
      if (!this.live || this.#probed || lateMs <= lateLimit) return this.#lost("no answer");
      this.#probed = true; // the answer may already be in the socket; if a second ping also times out, the connection is dead
      this.#probe();
    });
  }

  /**
   * Abandons the current attempt, and sets the time of the next.
   * @param {string} reason
   * @param {number} [afterMs] milliseconds to the next attempt; by default the time that the service has set, or else the backoff
   */
  #lost(reason, afterMs) {
    if (this.#closed) return;
    if (this.live && this.#clock.now() - this.#joinedAt >= stableAfter) this.#failures = 0;
    this.#discard();
    const move = this.#alarms.left("move");
    if (afterMs === undefined && move === Infinity) afterMs = backoff(++this.#failures, this.#session.platform.random);
    if (afterMs !== undefined) this.#alarms.set("retry", afterMs, () => void this.open());
    this.#session.onLost({ reason, retryInMs: afterMs ?? move });
  }

  /** Ends the current attempt. */
  #discard() {
    const socket = this.#attempt?.socket;
    this.#attempt = null;
    this.#joinedAt = -1;
    this.#probed = false;
    this.#unanswered = [];
    this.#alarms.clear("answer", "ping", "retry");
    // Do not wait for onclose: on a half-open connection it takes minutes.
    try {
      socket?.close(resumable);
    } catch {
      // Some sockets refuse a close code before they are open. Their events are ignored from here
      // on, so they can stay open.
    }
  }
}
