// The connection to the service: it opens one WebSocket after the other, with backoff,
// and finds out when one is dead. It knows nothing of tokens and sessions.

/** @import { Platform, WebSocketLike } from "./platform.js" */
/** @import { Alarms, Clock } from "./time.js" */
/** @import { ServerMessage } from "./protocol.js" */

import { subprotocol } from "./protocol.js";
import { backoff } from "./time.js";

/**
 * How long a socket may take to open, in milliseconds; then the next attempt begins at
 * once. Firefox holds a connection to a host that failed back for up to 60 s, without
 * counting an attempt that is closed meanwhile as another failure: between attempts
 * there must be no gap.
 */
const connectTimeout = 60_000;
/** How long the answer to join or resume may take, and at most the answer to a ping, in milliseconds. */
const answerTimeout = 10_000;
/** How long the answer to a ping may take at most, if the connection may be dead, in milliseconds. */
const probeTimeout = 5_000;
/** How long the answer to a ping may take at least, in milliseconds. */
const minPongTimeout = 2_000;
/** After so many milliseconds of being live, failures count from 1 again. */
const stableAfter = 5_000;
/** If an alarm rings later than this, in milliseconds, the device slept or the timers were throttled: the service may have answered in time. */
const lateLimit = 2_000;
/** A wake begins an attempt again that has taken longer than this, in milliseconds. */
const restartAfter = 1_000;
/** The close code after which the session can be resumed. */
const resumable = 4000;

/**
 * What a connection needs of the session.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's, without http or ws
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {() => Promise<() => object>} prepare is called before each attempt; returns a function that makes the first message when the socket is open
 * @property {(message: ServerMessage) => void} onMessage a message arrived
 * @property {(code: number) => number | undefined} onClosed the service, or a proxy, has closed the socket with that code. Returns milliseconds to the next attempt, or undefined for the backoff; it may call close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost the connection is lost, or the attempt has failed; the next attempt follows in retryInMs
 * @property {(error: unknown) => void} onError something failed that is tried again
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
  /** When the service answered join or resume, by the clock; below 0: it has not. */
  #joinedAt = -1;
  /** When the current attempt began, by the clock. */
  #startedAt = 0;
  /** How often to ping, in milliseconds. */
  #heartbeat = 0;
  /** How long the answer to a ping may take, in milliseconds. It is shorter with short-lived tokens, whose heartbeat is short. */
  #pongTimeout = answerTimeout;
  /** Whether an answer is overdue since a time in which the device may have slept, and a second ping was sent. */
  #probed = false;
  /** When each join, resume and ping was sent that has no answer yet, by the clock, oldest first: answers come in that order. @type {number[]} */
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
      return this.#lost("not connected");
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

  /** @param {object} message is dropped if no socket is open: the service repeats what it needs an answer to */
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
   * Pings a live connection; without one, begins an attempt now, unless the service
   * has set its time. It takes the place of one that is still connecting: that may be
   * bound to a network that is gone, and browsers open one WebSocket to a host at a
   * time, so a second would queue.
   */
  wake() {
    if (this.live) this.#probe();
    else if (this.#attempt ? this.#clock.now() - this.#startedAt > restartAfter : this.#alarms.left("move") === Infinity) void this.open();
  }

  /** Begins the current attempt again: it was prepared for a session that has ended. */
  restart() {
    if (this.#attempt) void this.open();
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
    if (this.live) this.#alarms.clear("answer"); // join and resume have no answer but joined
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
   * Whether a message answers a question that was sent a moment ago. Any other may
   * have waited at the socket while the page was frozen, also one that comes soon
   * after an overdue ping: what it says of the time is old.
   * @param {unknown} type
   */
  #isPrompt(type) {
    if (type !== "pong" && type !== "joined") return false;
    const sentAt = this.#unanswered.shift() ?? -Infinity;
    return this.#clock.now() - sentAt <= this.#pongTimeout;
  }

  /** @param {object} question that has one answer: join, resume or ping */
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
      this.#probed = true; // the answer may wait at the socket; a second time, it does not
      this.#probe();
    });
  }

  /**
   * Gives the current attempt up, and sets the time of the next.
   * @param {string} reason
   * @param {number} [afterMs] milliseconds to the next attempt; undefined: as the service said, or by the backoff
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
      // Some sockets that are not open yet refuse a close code. The attempt is over all the same: its events are ignored.
    }
  }
}
