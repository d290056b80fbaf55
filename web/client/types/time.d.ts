import type { Platform } from "./platform.js";
/**
 * A clock that never goes back. performance.now() stands still while some machines sleep, and Date.now() jumps
 * when a user sets the device's clock. Therefore each reading advances by the step of performance.now(), or by
 * the step of Date.now() if that step is larger by more than a second. So the clock counts sleep, and ignores a
 * device clock that is set back. If the device's clock is set forward, deadlines come early until the service's
 * next answer.
 */
export declare class Clock {
    #private;
    /** @param {Platform} platform */
    constructor(platform: Platform);
    /** Returns the milliseconds since this clock was made. */
    now(): number;
    /** Returns the service's time, in Unix milliseconds. */
    serverNow(): number;
    /**
     * Whether a time has passed by the service's clock.
     * @param {number} seconds Unix seconds
     */
    hasPassed(seconds: number): boolean;
    /**
     * Corrects the service's time. Any message can set the time forward, but only a prompt answer can set it
     * back: any other message may have waited while the page was frozen, and its outdated time would make expired
     * tokens seem valid.
     * @param {unknown} serverNow Unix milliseconds, from a message that just arrived
     * @param {boolean} prompt whether the message is a prompt answer: see Connection
     */
    sync(serverNow: unknown, prompt: boolean): void;
}
/**
 * Named alarms that share one timer. If the timer was throttled or the device slept when an alarm
 * was due, the alarm rings at the next call of check.
 */
export declare class Alarms {
    #private;
    /**
     * @param {Platform} platform
     * @param {Clock} clock
     */
    constructor(platform: Platform, clock: Clock);
    /**
     * Sets the alarm of that name, in place of an earlier one.
     * @param {string} name
     * @param {number} inMs milliseconds from now; below 0 is 0
     * @param {(lateMs: number) => void} ring called with the milliseconds by which it is late
     */
    set(name: string, inMs: number, ring: (lateMs: number) => void): void;
    /**
     * Milliseconds until the alarm rings; Infinity if it is not set.
     * @param {string} name
     */
    left(name: string): number;
    /** @param {string[]} names */
    clear(...names: string[]): void;
    /** Clears all alarms, and makes `set` have no effect. */
    stop(): void;
    /** Rings all alarms that are due, the earliest first. */
    check(): void;
    /**
     * Settles as the promise does, or rejects with the code TIMEOUT after ms milliseconds.
     * @template T
     * @param {number} ms
     * @param {T | PromiseLike<T>} promise
     * @param {string} who names the promise's source in the error
     * @returns {Promise<T>}
     */
    within<T>(ms: number, promise: T | PromiseLike<T>, who: string): Promise<T>;
}
/**
 * Makes an error with a code.
 * @param {string} code
 * @param {string} message
 */
export declare function failure(code: string, message: string): Error & {
    code: string;
};
/**
 * Returns how long to wait after the n-th failure in a row, in milliseconds. The backoff is exponential with
 * full jitter, so that clients that lost a node at the same time do not reconnect at the same time.
 * @param {number} failures from 1
 * @param {() => number} random from 0 to 1
 */
export declare function backoff(failures: number, random: () => number): number;
