// The connection to the service: it opens one WebSocket after the other, with backoff,
// and detects dead ones. It knows nothing of tokens and sessions.

/** @import { Platform, WebSocketLike } from "./platform.js" */
/** @import { Alarms, Clock } from "./time.js" */
/** @import { ServerMessage } from "./protocol.js" */

import { subprotocol } from "./protocol.js";
import { backoff } from "./time.js";

/**
 * How long a socket may take to open, in milliseconds; then the next attempt begins at
 * once. After a failure, Firefox holds connections to the same host back for up to a
 * minute. It connects the attempt that is open when this time ends, so there must be no
 * gap between attempts. Closing an attempt does not extend this time.
 */
const connectTimeout = 60_000;
/** The longest wait for the answer to join, resume or ping, in milliseconds. */
const answerTimeout = 10_000;
/** The longest wait for a pong if the connection may be dead, in milliseconds. */
const probeTimeout = 5_000;
/** The shortest wait for a pong, in milliseconds. */
const minPongTimeout = 2_000;
/** A connection that was live for this long, in milliseconds, resets the count of failures. */
const stableAfter = 5_000;
/** An alarm that is later than this, in milliseconds, means that the device slept or the timers were throttled. The answer may have come in time, so a second ping is sent. */
const lateLimit = 2_000;
/** A wake restarts an attempt that has taken longer than this, in milliseconds. */
const restartAfter = 1_000;
/** The close code of a socket that the library abandons: the service keeps the session. */
const resumable = 4000;

/**
 * The session's members that the connection uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address after "http" or "ws", such as "s://calls.example.com"
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {() => Promise<() => object>} prepare is called before each attempt; returns a function that makes the first message when the socket is open
 * @property {(message: ServerMessage) => void} onMessage a message arrived
 * @property {(code: number) => number | undefined} onClosed the service, or a proxy, has closed the socket with that code. Returns milliseconds to the next attempt, or undefined for the backoff; it may call close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost the connection is lost, or the attempt has failed; the next attempt follows in retryInMs
 * @property {(error: unknown) => void} onError something failed, and is retried
 */

/**
 * An attempt to connect, and the connection that it becomes.
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
  /** When the service answered join or resume, by the clock; -1 before that. */
  #joinedAt = -1;
  /** When the current attempt began, by the clock. */
  #startedAt = 0;
  /** The interval between pings, in milliseconds. */
  #heartbeat = 0;
  /** How long the answer to a ping may take, in milliseconds. It is shorter with short-lived tokens, whose heartbeat is short. */
  #pongTimeout = answerTimeout;
  /** Whether a second ping was sent, since the device may have slept when the answer to the first was due. */
  #probed = false;
  /** When each join, resume and ping that has no answer yet was sent, by the clock, oldest first. Answers come in this order. @type {number[]} */
  #unanswered = [];
  /** The current attempt; events of an older one are ignored. @type {Attempt | null} */
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
      // Some sockets throw when they are closing. Nothing is lost: onclose follows, and the service repeats.
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
   * Connects again after a time that the service set. The socket stays open until
   * then, unless the service closes it.
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
   * Pings a live connection. Without one, begins an attempt now, unless the service has
   * set the time of the next. An attempt that has been connecting for longer than
   * restartAfter is replaced: it may be bound to a network that is gone, and browsers
   * open one WebSocket to a host at a time, so a second would queue.
   */
  wake() {
    if (this.live) this.#probe();
    else if (this.#attempt ? this.#clock.now() - this.#startedAt > restartAfter : this.#alarms.left("move") === Infinity) void this.open();
  }

  /**
   * Gives the current attempt up and begins another at once: its session has ended.
   * @param {string} reason
   */
  restart(reason) {
    if (this.#attempt) this.#lost(reason, 0);
  }

  /** Closes the connection, for good. */
  close() {
    this.#closed = true;
    this.#discard();
    this.#alarms.clear("move");
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#probed = false;
    if (this.live) this.#alarms.clear("answer"); // before joined, only joined is an answer
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return this.#session.onError(new Error("not JSON"));
    }
    this.#clock.sync(message?.now, this.#isPrompt(message?.type));
    if (typeof message?.type === "string") this.#session.onMessage(message);
    this.#alarms.check(); // in a background page, messages arrive sooner than timers
  }

  /**
   * Whether a message answers a question that was sent within the last pongTimeout. Any
   * other may have waited in the socket while the page was frozen, also one that
   * arrives soon after an overdue ping: its `now` is old.
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
   * Sets the deadline of an answer.
   * @param {number} ms from now; an earlier deadline stays
   */
  #expectAnswer(ms) {
    if (this.#alarms.left("answer") <= ms) return;
    this.#alarms.set("answer", ms, (lateMs) => {
      if (this.#attempt && !this.#attempt.open) return this.#lost("no answer", 0);
      if (!this.live || this.#probed || lateMs <= lateLimit) return this.#lost("no answer");
      this.#probed = true; // the answer may wait in the socket; after a second timeout, the connection is dead
      this.#probe();
    });
  }

  /**
   * Gives the current attempt up, and sets the time of the next.
   * @param {string} reason
   * @param {number} [afterMs] milliseconds to the next attempt; without it, as the service has set, or else by the backoff
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
    // The event onclose is not awaited: on a half-open connection it takes minutes.
    try {
      socket?.close(resumable);
    } catch {
      // Some sockets that are not open yet refuse a close code. From here on, their events are ignored anyway.
    }
  }
}
