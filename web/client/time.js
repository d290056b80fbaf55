// A clock that counts sleep and knows the service's time, and alarms that are not lost during sleep.

/** @import { Platform } from "./platform.js" */

/** The longest delay of setTimeout, in milliseconds: a timer with a longer delay fires at once. */
const longestTimeout = 2 ** 31 - 1;

/**
 * A clock that never goes back. performance.now() stands still while some machines sleep, and Date.now() jumps
 * when a user sets the device's clock. Therefore each reading advances by the step of performance.now(), or by
 * the step of Date.now() if that step is larger by more than a second. So the clock counts sleep, and ignores a
 * device clock that is set back. If the device's clock is set forward, deadlines come early until the service's
 * next answer.
 */
export class Clock {
  #platform;
  #wall;
  #steady;
  #now = 0;
  #offset;

  /** @param {Platform} platform */
  constructor(platform) {
    this.#platform = platform;
    this.#wall = platform.wallNow();
    this.#steady = platform.steadyNow();
    this.#offset = this.#wall; // until the service's first answer, the device's clock is assumed to be right
  }

  /** Returns the milliseconds since this clock was made. */
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

  /** Returns the service's time, in Unix milliseconds. */
  serverNow() {
    return this.now() + this.#offset;
  }

  /**
   * Whether a time has passed by the service's clock.
   * @param {number} seconds Unix seconds
   */
  hasPassed(seconds) {
    return seconds * 1000 <= this.serverNow();
  }

  /**
   * Corrects the service's time. Any message can set the time forward, but only a prompt answer can set it
   * back: any other message may have waited while the page was frozen, and its outdated time would make expired
   * tokens seem valid.
   * @param {unknown} serverNow Unix milliseconds, from a message that just arrived
   * @param {boolean} prompt whether the message is a prompt answer: see Connection
   */
  sync(serverNow, prompt) {
    if (!Number.isFinite(serverNow)) return;
    const offset = Number(serverNow) - this.now();
    if (prompt || offset > this.#offset) this.#offset = offset;
  }
}

/**
 * Named alarms that share one timer. If the timer was throttled or the device slept when an alarm
 * was due, the alarm rings at the next call of check.
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
   * Sets the alarm of that name, in place of an earlier one.
   * @param {string} name
   * @param {number} inMs milliseconds from now; below 0 is 0
   * @param {(lateMs: number) => void} ring called with the milliseconds by which it is late
   */
  set(name, inMs, ring) {
    if (this.#over) return;
    this.#set.set(name, { at: this.#clock.now() + (inMs > 0 ? inMs : 0), ring });
    this.#arm();
  }

  /**
   * Milliseconds until the alarm rings; Infinity if it is not set.
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

  /** Clears all alarms, and makes `set` have no effect. */
  stop() {
    this.#over = true;
    this.clear(...this.#set.keys());
  }

  /** Rings all alarms that are due, the earliest first. */
  check() {
    const now = this.#clock.now();
    const due = [...this.#set].filter(([, alarm]) => alarm.at <= now).sort(([, a], [, b]) => a.at - b.at);
    for (const [name, alarm] of due) {
      if (this.#set.get(name) !== alarm) continue; // an alarm that rang earlier in this loop has set or cleared this one
      this.#set.delete(name);
      alarm.ring(now - alarm.at);
    }
    this.#arm();
  }

  /**
   * Settles as the promise does, or rejects with the code TIMEOUT after ms milliseconds.
   * @template T
   * @param {number} ms
   * @param {T | PromiseLike<T>} promise
   * @param {string} who names the promise's source in the error
   * @returns {Promise<T>}
   */
  within(ms, promise, who) {
    return new Promise((resolve, reject) => {
      const name = `within ${++this.#waits}`;
      this.set(name, ms, () => reject(failure("TIMEOUT", `no answer within ${ms / 1000} s: ${who}`)));
      Promise.resolve(promise).then(resolve, reject).finally(() => this.clear(name));
    });
  }

  #arm() {
    this.#platform.clearTimeout(this.#timer);
    if (this.#set.size === 0) return;
    const next = Math.min(...[...this.#set.values()].map((alarm) => alarm.at));
    const delay = Math.ceil(next - this.#clock.now()); // setTimeout treats a negative delay as 0
    this.#timer = this.#platform.setTimeout(() => this.check(), Math.min(delay, longestTimeout));
  }
}

/**
 * Makes an error with a code.
 * @param {string} code
 * @param {string} message
 */
export function failure(code, message) {
  return Object.assign(new Error(message), { code });
}

/**
 * Returns how long to wait after the n-th failure in a row, in milliseconds. The backoff is exponential with
 * full jitter, so that clients that lost a node at the same time do not reconnect at the same time.
 * @param {number} failures from 1
 * @param {() => number} random from 0 to 1
 */
export function backoff(failures, random) {
  return random() * Math.min(20_000, 500 * 2 ** (failures - 1));
}
