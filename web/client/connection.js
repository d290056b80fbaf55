// The connection to the service. Opens one WebSocket after another, with backoff, and detects dead connections.
// It knows nothing of tokens and sessions.

/** @import { Platform, WebSocketLike } from "./platform.js" */
/** @import { Alarms, Clock } from "./time.js" */
/** @import { ServerMessage } from "./protocol.js" */

import { subprotocol } from "./protocol.js";
import { backoff } from "./time.js";

/**
 * How long a socket may take to open, in milliseconds. After a time-out the next attempt begins without a
 * pause, so that a socket is always waiting: after failures, Firefox delays connections to a host by up to a
 * minute, and at the end of that delay connects only a socket that is waiting then. Closing an attempt does not
 * extend Firefox's delay.
 */
const connectTimeout = 60_000;
const answerTimeout = 10_000;
/** How long the connection waits for a pong if it may be dead, in milliseconds. */
const probeTimeout = 5_000;
/** The least value of pongTimeout, in milliseconds. */
const minPongTimeout = 2_000;
/** Once the connection has been live for this time, in milliseconds, it resets the count of failures. */
const stableAfter = 5_000;
/**
 * If an alarm rings late by more than this, in milliseconds, the device slept or the timers were throttled. The
 * answer may have arrived in time, so the connection sends a second ping.
 */
const lateLimit = 2_000;
/** wake() replaces an attempt by a new one if the attempt is older than this, in milliseconds. */
const restartAfter = 1_000;
/** The close code for a socket that the library abandons: it tells the service to keep the session for a resume. */
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
 * An attempt to connect. Once its socket is open, the attempt is the connection.
 * @typedef {{socket?: WebSocketLike, open?: boolean}} Attempt
 */

export class Connection {
  #clock;
  #alarms;
  #session;
  #closed = false;
  #failures = 0;
  /** When the service answered join or resume, by the clock; -1 before the answer. */
  #joinedAt = -1;
  #startedAt = 0;
  #heartbeat = 0;
  /**
   * How long the service may take to answer a ping, in milliseconds. The time is shorter if the tokens are
   * short-lived.
   */
  #pongTimeout = answerTimeout;
  /** Whether a second ping was sent, since the device may have slept when the first answer was due. */
  #probed = false;
  /** The times at which unanswered messages (join, resume, ping) were sent, by the clock, oldest first. The service answers in this order. @type {number[]} */
  #unanswered = [];
  /** @type {Attempt | null} */
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

  /** Begins an attempt now, in place of the current one. */
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
      // Some sockets throw while they close. No message is lost: after onclose the client resumes, and the
      // service repeats its last bundle.
    }
  }

  /**
   * Makes the connection live, because the service answered join or resume.
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
   * Connects again after a time that the service has set. Until then the current socket stays open, unless the
   * service closes it.
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
   * Pings a live connection. Without a connection, begins an attempt now, unless the service has set the time
   * of the next attempt. An attempt that is older than restartAfter is replaced, since its network may be gone.
   * That attempt is closed first, since browsers open only one WebSocket to a host at a time.
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

  close() {
    this.#closed = true;
    this.#discard();
    this.#alarms.clear("move");
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#probed = false;
    if (this.live) this.#alarms.clear("answer"); // until `joined` arrives, the alarm stays set: no other message answers join or resume
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return this.#session.onError(new Error("not JSON"));
    }
    this.#clock.sync(message?.now, this.#isPrompt(message?.type));
    if (typeof message?.type === "string") this.#session.onMessage(message);
    this.#alarms.check(); // in a background page the timer may be late, so due alarms ring now
  }

  /**
   * Whether a message answers a join, resume or ping of the last pongTimeout. Any other message may have waited
   * in the socket while the page was frozen, so its `now` may be outdated.
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
      this.#probed = true; // The answer may already be in the socket. If a second ping gets no answer either, the connection is dead.
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

  #discard() {
    const socket = this.#attempt?.socket;
    this.#attempt = null;
    this.#joinedAt = -1;
    this.#probed = false;
    this.#unanswered = [];
    this.#alarms.clear("answer", "ping", "retry");
    // On a half-open connection, onclose comes only after minutes, so the code does not wait for it.
    try {
      socket?.close(resumable);
    } catch {
      // Some sockets refuse a close code before they are open. The library ignores their events from now on, so
      // they may stay open.
    }
  }
}
