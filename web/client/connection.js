// One connection to the service, for as long as the call lasts. It knows when to
// open a socket, when to distrust it, and how long to wait; of tokens and
// sessions it knows nothing.

/** @import { Platform, WebSocketLike } from "./platform.js" */
/** @import { Alarms, Clock } from "./time.js" */
/** @import { ServerMessage } from "./protocol.js" */

import { subprotocol } from "./protocol.js";
import { backoff } from "./time.js";

// For the socket to open; then the next attempt begins at once. Firefox holds a
// connection to a host that failed back for up to 60 s, without counting an attempt
// that is closed meanwhile as another failure: between attempts there must be no gap.
const connectTimeout = 60_000;
const answerTimeout = 10_000; // for the first answer, and at most for a pong
const probeTimeout = 5_000; // for a pong at most, when there is reason for doubt
const leastPatience = 2_000; // with a pong
const stableAfter = 5_000; // of being joined, until failures count from 1 again
const overslept = 2_000; // a deadline that rings so late says nothing about the other side
const hung = 1_000; // an attempt that takes longer begins again when something has changed
const resumable = 4000; // close code: the session goes on

/**
 * What a connection needs of the session.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's, without http or ws
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {() => Promise<() => object>} prepare gets ready for a connection; what it returns makes the first message, when the socket is open
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(code: number) => number | undefined} onClosed the other side has closed, with that code; it is come back to after the span that this returns, or else the backoff, unless this calls close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost there is no connection; the next attempt follows after that span
 * @property {(error: unknown) => void} onError
 */

/** @typedef {{socket?: WebSocketLike, open?: boolean}} Attempt */

export class Connection {
  #clock;
  #alarms;
  #session;
  #over = false;
  #failures = 0;
  #joinedAt = -1; // by the clock; below 0: not joined
  #begunAt = 0; // the current attempt, by the clock
  #heartbeat = 0; // milliseconds
  #patience = answerTimeout; // with the answer to a ping, milliseconds: less with short tokens, whose heartbeat is short
  #mayHurry = false; // an attempt waits for nothing but its backoff
  #doubted = false; // a deadline rang too late to mean anything, and nothing was heard since
  /** When join, resume and pings were sent that have no answer yet, by the clock. Answers come in the order of the questions.
   * @type {number[]} */
  #unanswered = [];
  /** Stands for the current attempt: what belongs to an older one is ignored.
   * @type {Attempt | null} */
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

  /** Opens a socket now, in place of the one that there is. */
  async open() {
    if (this.#over) return;
    this.#discard();
    /** @type {Attempt} */
    const attempt = {};
    this.#attempt = attempt;
    this.#begunAt = this.#clock.now();
    let hello;
    try {
      hello = await this.#session.prepare();
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
      this.#ask(hello());
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

  /** @param {object} message is lost if no socket is open: the other side will ask again */
  send(message) {
    if (!this.#attempt?.open) return;
    try {
      this.#attempt.socket?.send(JSON.stringify(message));
    } catch {
      // It is closing, and some kinds of sockets object to that.
    }
  }

  /**
   * Says that join or resume succeeded.
   * @param {number} heartbeatMs
   */
  joined(heartbeatMs) {
    this.#joinedAt = this.#clock.now();
    this.#heartbeat = heartbeatMs;
    this.#patience = Math.min(answerTimeout, Math.max(leastPatience, 2 * heartbeatMs));
    this.#alarms.clear("answer");
    this.#beat();
  }

  /**
   * Obeys the service's wish to connect anew after a span; the socket goes on
   * until then, if the service does not close it.
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
   * Pings a live connection; without one, begins an attempt now. It takes the place
   * of one that is still connecting: that may be bound to a network that is gone,
   * and browsers open one WebSocket to a host at a time, so a second would queue.
   */
  wake() {
    if (this.live) this.#probe();
    else if (this.#mayHurry || this.#alarms.left("retry") <= 0 || (this.#attempt && this.#clock.now() - this.#begunAt > hung)) void this.open();
  }

  /** Begins the attempt that is under way again, since what it was prepared for is no more. */
  restart() {
    if (this.#attempt) void this.open();
  }

  /** Stops for good. */
  close() {
    this.#over = true;
    this.#discard();
    this.#alarms.clear("move");
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#doubted = false;
    if (this.live) this.#alarms.clear("answer"); // to join and resume, no other than joined is one
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return this.#session.onError(new Error("not JSON"));
    }
    this.#clock.sync(message?.now, this.#isPrompt(message?.type));
    if (typeof message?.type === "string") this.#session.onMessage(message);
    this.#alarms.check(); // a page in the background hears messages sooner than timers
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
    return this.#clock.now() - sentAt <= this.#patience;
  }

  /** @param {object} question that has one answer: join, resume or ping */
  #ask(question) {
    this.#unanswered.push(this.#clock.now());
    this.send(question);
  }

  #beat() {
    this.#alarms.set("ping", this.#heartbeat, () => {
      this.#ask({ type: "ping" });
      this.#expectAnswer(this.#patience);
      this.#beat();
    });
  }

  #probe() {
    this.#ask({ type: "ping" });
    this.#expectAnswer(Math.min(probeTimeout, this.#patience));
  }

  /** @param {number} ms does not put off the end of a shorter wait */
  #expectAnswer(ms) {
    if (this.#alarms.left("answer") <= ms) return;
    this.#alarms.set("answer", ms, (lateMs) => {
      if (this.#attempt && !this.#attempt.open) return this.#lost("no answer", 0);
      if (!this.live || this.#doubted || lateMs <= overslept) return this.#lost("no answer");
      this.#doubted = true; // the answer may lie in wait; but a page in the background always rings late
      this.#probe();
    });
  }

  /**
   * Lets go of the connection, and comes back.
   * @param {string} reason
   * @param {number} [afterMs] by the backoff if absent, or as the service has said
   */
  #lost(reason, afterMs) {
    if (this.#over) return;
    if (this.live && this.#clock.now() - this.#joinedAt >= stableAfter) this.#failures = 0;
    this.#discard();
    const move = this.#alarms.left("move");
    if (afterMs === undefined && move === Infinity) {
      afterMs = backoff(++this.#failures, this.#session.platform.random);
      this.#mayHurry = true;
    }
    if (afterMs !== undefined) this.#alarms.set("retry", afterMs, () => void this.open());
    this.#session.onLost({ reason, retryInMs: afterMs ?? move });
  }

  /** Forgets the current attempt. */
  #discard() {
    const socket = this.#attempt?.socket;
    this.#attempt = null;
    this.#joinedAt = -1;
    this.#mayHurry = this.#doubted = false;
    this.#unanswered = [];
    this.#alarms.clear("answer", "ping", "retry");
    // Its onclose is not waited for: a half-open socket takes minutes to end.
    try {
      socket?.close(resumable);
    } catch {
      // A socket that is not open yet may refuse a close code.
    }
  }
}
