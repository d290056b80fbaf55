// Time as a call needs it: a clock that counts sleep and is right about the
// server's, and alarms that ring late rather than never.

/** @import { Platform } from "./platform.js" */

/** The longest delay that setTimeout takes; it fires at once for a longer one. */
const longestTimeout = 2 ** 31 - 1;

/**
 * A clock that never goes back. performance.now() stands still while some
 * machines sleep, and Date.now() jumps when somebody sets it; each reading goes
 * forward by the step of the first, or that of the second where it is larger by
 * more than their rounding. So sleep counts, and a clock that is set back does
 * not. One that is set forward makes deadlines come early, until the server's
 * next answer.
 */
export class Clock {
  #platform;
  #wall;
  #steady;
  #now = 0;
  #offset; // server's clock minus this one, milliseconds

  /** @param {Platform} platform */
  constructor(platform) {
    this.#platform = platform;
    this.#wall = platform.wallNow();
    this.#steady = platform.steadyNow();
    this.#offset = this.#wall; // the best guess until the server says
  }

  /** Milliseconds since this clock was made. */
  now() {
    const wall = this.#platform.wallNow();
    const steady = this.#platform.steadyNow();
    const step = steady - this.#steady;
    const byWall = wall - this.#wall;
    this.#now += Math.max(0, byWall - step > 1000 ? byWall : step);
    this.#wall = wall;
    this.#steady = steady;
    return this.#now;
  }

  /** The server's clock in Unix milliseconds. */
  serverNow() {
    return this.now() + this.#offset;
  }

  /**
   * Whether a time has passed, by the server's clock.
   * @param {number} seconds Unix seconds
   */
  hasPassed(seconds) {
    return seconds * 1000 <= this.serverNow();
  }

  /**
   * Sets the server's clock: forward by any message, back by a prompt answer only.
   * Any other message may have waited while the page was frozen, and would make
   * tokens that have expired look good.
   * @param {unknown} serverNow Unix milliseconds, from a message that just came
   * @param {boolean} prompt
   */
  sync(serverNow, prompt) {
    if (!Number.isFinite(serverNow)) return;
    const offset = Number(serverNow) - this.now();
    if (prompt || offset > this.#offset) this.#offset = offset;
  }
}

/**
 * Named alarms over one timer. A timer that was throttled in the background or
 * slept through rings as soon as anything calls check.
 */
export class Alarms {
  #platform;
  #clock;
  /** @type {Map<string, {at: number, ring: (lateMs: number) => void}>} */
  #set = new Map();
  #waits = 0;
  #over = false;
  /** @type {unknown} */
  #timer;

  /**
   * @param {Platform} platform
   * @param {Clock} clock
   */
  constructor(platform, clock) {
    this.#platform = platform;
    this.#clock = clock;
  }

  /**
   * Sets the alarm of that name, in place of what it was.
   * @param {string} name
   * @param {number} inMs any span; what is not above 0 is 0
   * @param {(lateMs: number) => void} ring is told how much later than asked it is
   */
  set(name, inMs, ring) {
    if (this.#over) return;
    this.#set.set(name, { at: this.#clock.now() + (inMs > 0 ? inMs : 0), ring });
    this.#arm();
  }

  /**
   * Milliseconds until it rings; Infinity if it is not set.
   * @param {string} name
   */
  left(name) {
    const alarm = this.#set.get(name);
    return alarm ? alarm.at - this.#clock.now() : Infinity;
  }

  /** @param {string[]} names */
  clear(...names) {
    for (const name of names) this.#set.delete(name);
    this.#arm();
  }

  /** Forgets all, and takes no more. */
  stop() {
    this.#over = true;
    this.clear(...this.#set.keys());
  }

  /** Rings what is due, the earliest first. */
  check() {
    const now = this.#clock.now();
    const due = [...this.#set].filter(([, alarm]) => alarm.at <= now).sort(([, a], [, b]) => a.at - b.at);
    for (const [name, alarm] of due) {
      if (this.#set.get(name) !== alarm) continue; // one before it has changed it
      this.#set.delete(name);
      alarm.ring(now - alarm.at);
    }
    this.#arm();
  }

  /**
   * The promise's outcome, or a rejection if it takes longer.
   * @template T
   * @param {number} ms
   * @param {T | PromiseLike<T>} promise
   * @param {string} who is to keep it
   * @returns {Promise<T>}
   */
  within(ms, promise, who) {
    return new Promise((resolve, reject) => {
      const name = `within ${++this.#waits}`;
      this.set(name, ms, () => reject(failure("TIMEOUT", `no answer in time: ${who}`)));
      Promise.resolve(promise).then(resolve, reject).finally(() => this.clear(name));
    });
  }

  #arm() {
    this.#platform.clearTimeout(this.#timer);
    if (this.#set.size === 0) return;
    const next = Math.min(...[...this.#set.values()].map((alarm) => alarm.at));
    const delay = Math.ceil(next - this.#clock.now()); // below 0 is 0 to setTimeout
    this.#timer = this.#platform.setTimeout(() => this.check(), Math.min(delay, longestTimeout));
  }
}

/**
 * @param {string} code
 * @param {string} message
 */
export function failure(code, message) {
  return Object.assign(new Error(message), { code });
}

/**
 * How long to wait after the n-th failure in a row, in milliseconds: full
 * jitter, so that clients that lost a node together do not come back together.
 * @param {number} failures from 1
 * @param {() => number} random from 0 to 1
 */
export function backoff(failures, random) {
  return random() * Math.min(20_000, 500 * 2 ** (failures - 1));
}
