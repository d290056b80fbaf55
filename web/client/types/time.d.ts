import type { Platform } from "./platform.js";
/**
 * A clock that never goes back. performance.now() stands still while some
 * machines sleep, and Date.now() jumps when somebody sets it; each reading goes
 * forward by the step of the first, or that of the second where it is larger by
 * more than their rounding. So sleep counts, and a clock that is set back does
 * not. One that is set forward makes deadlines come early, until the server's
 * next answer.
 */
export declare class Clock {
    #private;
    /** @param {Platform} platform */
    constructor(platform: Platform);
    /** Milliseconds since this clock was made. */
    now(): number;
    /** The server's clock in Unix milliseconds. */
    serverNow(): number;
    /**
     * Whether a time has passed, by the server's clock.
     * @param {number} seconds Unix seconds
     */
    hasPassed(seconds: number): boolean;
    /**
     * Sets the server's clock: forward by any message, back by a prompt answer only.
     * Any other message may have waited while the page was frozen, and would make
     * tokens that have expired look good.
     * @param {unknown} serverNow Unix milliseconds, from a message that just came
     * @param {boolean} prompt
     */
    sync(serverNow: unknown, prompt: boolean): void;
}
/**
 * Named alarms over one timer. A timer that was throttled in the background or
 * slept through rings as soon as anything calls check.
 */
export declare class Alarms {
    #private;
    /**
     * @param {Platform} platform
     * @param {Clock} clock
     */
    constructor(platform: Platform, clock: Clock);
    /**
     * Sets the alarm of that name, in place of what it was.
     * @param {string} name
     * @param {number} inMs any span; what is not above 0 is 0
     * @param {(lateMs: number) => void} ring is told how much later than asked it is
     */
    set(name: string, inMs: number, ring: (lateMs: number) => void): void;
    /**
     * Milliseconds until it rings; Infinity if it is not set.
     * @param {string} name
     */
    left(name: string): number;
    /** @param {string[]} names */
    clear(...names: string[]): void;
    /** Forgets all, and takes no more. */
    stop(): void;
    /** Rings what is due, the earliest first. */
    check(): void;
    /**
     * The promise's outcome, or a rejection if it takes longer.
     * @template T
     * @param {number} ms
     * @param {T | PromiseLike<T>} promise
     * @param {string} who is to keep it
     * @returns {Promise<T>}
     */
    within<T>(ms: number, promise: T | PromiseLike<T>, who: string): Promise<T>;
}
/**
 * @param {string} code
 * @param {string} message
 */
export declare function failure(code: string, message: string): Error & {
    code: string;
};
/**
 * How long to wait after the n-th failure in a row, in milliseconds: full
 * jitter, so that clients that lost a node together do not come back together.
 * @param {number} failures from 1
 * @param {() => number} random from 0 to 1
 */
export declare function backoff(failures: number, random: () => number): number;
