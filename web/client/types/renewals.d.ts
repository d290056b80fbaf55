import type { Connection } from "./connection.js";
import type { DeliveryQueue } from "./delivery.js";
import type { Answer } from "./http.js";
import type { Platform } from "./platform.js";
import type { Push } from "./protocol.js";
import type { ResumeStore } from "./resume.js";
import type { Alarms, Clock } from "./time.js";
export type Parts = {
    /**
     * address of the sessions
     */
    url: string;
    platform: Platform;
    clock: Clock;
    alarms: Alarms;
    connection: Connection;
    resume: ResumeStore;
    deliveries: DeliveryQueue;
    on: Handlers;
};
export type Handlers = {
    /**
     * tokens arrived over HTTP
     */
    received: (push: Push) => void;
    /**
     * the service answered over HTTP that the session has ended, or is not known
     */
    over: (over: NonNullable<Answer["over"]>) => void;
    /**
     * a request over HTTP failed; it is repeated
     */
    error: (error: unknown) => void;
};
/**
 * @typedef {object} Parts
 * @property {string} url address of the sessions
 * @property {Platform} platform
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {Connection} connection
 * @property {ResumeStore} resume
 * @property {DeliveryQueue} deliveries
 * @property {Handlers} on
 */
/**
 * @typedef {object} Handlers
 * @property {(push: Push) => void} received tokens arrived over HTTP
 * @property {(over: NonNullable<Answer["over"]>) => void} over the service answered over HTTP that the session has ended, or is not known
 * @property {(error: unknown) => void} error a request over HTTP failed; it is repeated
 */
export declare class Renewals {
    #private;
    /** When the tokens expire that were applied last, in Unix seconds; 0: none were. */
    appliedUntil: number;
    /** @param {Parts} parts */
    constructor({ url, platform, clock, alarms, connection, resume, deliveries, on }: Parts);
    /** @param {number} renewBefore as the service has said, in seconds */
    connected(renewBefore: number): void;
    /** Another session begins, which numbers its bundles from 1. */
    reset(): void;
    /** Ends the request that is under way. */
    stop(): void;
    /** Requests new tokens now. */
    request(): void;
    /** An SDK's token expires soon: requests new ones if the push is late. */
    willExpire(): void;
    /** A bundle had expired when it arrived: it waited too long, or this clock is ahead, which the pong will tell. */
    arrivedExpired(): void;
    /**
     * Records that a new bundle arrived.
     * @param {number} previousSeq of the bundle that was the newest before
     * @param {number} previousExpiresAt of the same
     */
    arrived(previousSeq: number, previousExpiresAt: number): void;
    /**
     * Records that tokens were applied.
     * @param {number} expiresAt in Unix seconds
     * @returns {number} milliseconds that the tokens before had left; Infinity if there were none
     */
    applied(expiresAt: number): number;
    /** Sets the alarm for the time at which the next push is overdue. */
    schedule(): void;
    /**
     * Makes no request over HTTP for the time of the backoff.
     * @param {number} [leastMs] nor for this time
     */
    backOff(leastMs?: number): void;
}
