// A simulated device with one page: its clocks, timers and page events.

import assert from "node:assert/strict";

import { settle } from "./time.js";

const longestTimeout = 2 ** 31 - 1;
/** The limit of timers and events at one moment, which finds endless loops. */
const maxEventsAtOnce = 2000;

export class Device {
  /** The true time in Unix milliseconds, which is also the service's clock. */
  time = 1_796_040_000_000;
  /** How far the device's clock is ahead of the true time, in milliseconds. */
  wallError = 0;
  /** The device's steady clock, in milliseconds. */
  steady = 5_000;
  /** @type {number | (() => number)} */
  random = 1;
  /** Timers fire only at multiples of this, in milliseconds, as in a background page; 0 does not delay them. */
  throttle = 0;
  /** Whether the device sleeps or the page is frozen, so that no code runs. */
  asleep = false;
  wakes = new Set();
  hides = new Set();
  /** Whether the page is hidden, or about to go away. */
  hidden = false;
  /** Errors that the page's console would show as uncaught. */
  uncaught = [];
  warnings = [];

  #timers = new Map();
  #timerIds = 0;
  #scheduled = [];

  /** @param {import("node:test").TestContext} [t] the test, which fails if errors are uncaught at its end */
  constructor(t) {
    t?.after(() => assert.deepEqual(this.uncaught, [], "no error is uncaught"));
    this.platform = {
      setTimeout: (run, ms) => {
        const delay = ms > 0 && ms <= longestTimeout ? ms : 0; // a timer with a longer delay fires at once, as in a browser
        let at = this.steady + delay;
        if (this.throttle) at = Math.ceil(at / this.throttle) * this.throttle;
        this.#timers.set(++this.#timerIds, { at, run });
        return this.#timerIds;
      },
      clearTimeout: (id) => void this.#timers.delete(id),
      wallNow: () => this.time + this.wallError,
      steadyNow: () => this.steady,
      warn: (text) => void this.warnings.push(text),
      random: () => (typeof this.random === "function" ? this.random() : this.random),
      isHidden: () => this.hidden,
      onHide: (hide) => {
        this.hides.add(hide);
        return () => void this.hides.delete(hide);
      },
      onWake: (wake) => {
        this.wakes.add(wake);
        return () => void this.wakes.delete(wake);
      },
    };
  }

  get timers() {
    return this.#timers.size;
  }

  seconds(ms = 0) {
    return Math.floor((this.time + ms) / 1000);
  }

  /** Advances the time. Runs the timers and scheduled events in order as they fall due. */
  async pass(ms) {
    const end = this.time + ms;
    await settle();
    for (let last = -1, events = 0; ; ) {
      const next = this.#next();
      if (!next || next.at > end) break;
      this.#advance(Math.max(0, next.at - this.time));
      events = this.time === last ? events + 1 : 0;
      last = this.time;
      if (events > maxEventsAtOnce) throw new Error("time stands still: there is a loop without an end");
      this.run(next.take());
      await settle();
    }
    this.#advance(end - this.time);
  }

  /**
   * Advances the time while the device sleeps or the page is frozen. No timer fires. The steady clock stands
   * still, unless `steady` is set. Only events from outside of the device are run.
   */
  async sleep(ms, { steady = false } = {}) {
    await settle();
    const end = this.time + ms;
    this.asleep = true;
    if (steady) this.steady += ms;
    for (;;) {
      const next = this.#scheduled.filter((event) => event.elsewhere && event.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.time = Math.max(this.time, next.at);
      this.#scheduled.splice(this.#scheduled.indexOf(next), 1);
      next.run();
    }
    this.time = end;
    this.asleep = false;
  }

  /** Makes the page go away, for good or into the browser's back/forward cache. */
  hide() {
    for (const hide of [...this.hides]) this.run(hide);
  }

  /** Calls the listeners of onWake, as after a sleep or a change of the network. */
  async wake() {
    for (const wake of [...this.wakes]) this.run(wake);
    await settle();
  }

  /**
   * Schedules an event outside of the page.
   * @param {number} time in Unix milliseconds
   * @param {() => void} run
   * @param {boolean} [elsewhere] whether the event happens outside of the device, and so also while the device sleeps
   */
  at(time, run, elsewhere = false) {
    this.#scheduled.push({ at: time, run, elsewhere });
  }

  /** Calls a function as a browser does: an error goes to the console. */
  run(callback) {
    try {
      callback();
    } catch (error) {
      this.uncaught.push(error);
    }
  }

  #advance(ms) {
    this.time += ms;
    this.steady += ms;
  }

  #next() {
    let next = null;
    for (const [id, { at, run }] of this.#timers) {
      const due = this.time + at - this.steady;
      if (!next || due < next.at) next = { at: due, take: () => (this.#timers.delete(id), run) };
    }
    for (const event of this.#scheduled) {
      if (!next || event.at < next.at) next = { at: event.at, take: () => (this.#scheduled.splice(this.#scheduled.indexOf(event), 1), event.run) };
    }
    return next;
  }
}
