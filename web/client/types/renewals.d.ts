import type { Connection } from "./connection.js";
import type { DeliveryQueue } from "./delivery.js";
import type { Answer } from "./http.js";
import type { Platform } from "./platform.js";
import type { Push } from "./protocol.js";
import type { ResumeStore } from "./resume.js";
import type { Alarms, Clock } from "./time.js";
export type Parts = {
    platform: Platform;
    /**
     * the service's, without http or ws
     */
    address: string;
    clock: Clock;
    alarms: Alarms;
    connection: Connection;
    resume: ResumeStore;
    deliveries: DeliveryQueue;
    /**
     * tokens arrived over HTTP
     */
    onPush: (push: Push) => void;
    /**
     * the service answered over HTTP that the session has ended, or is not known
     */
    onOver: (over: NonNullable<Answer["over"]>) => void;
    /**
     * a request over HTTP failed; it is repeated
     */
    onError: (error: unknown) => void;
};
/**
 * What renewals need of the session.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's, without http or ws
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {Connection} connection
 * @property {ResumeStore} resume
 * @property {DeliveryQueue} deliveries
 * @property {(push: Push) => void} onPush tokens arrived over HTTP
 * @property {(over: NonNullable<Answer["over"]>) => void} onOver the service answered over HTTP that the session has ended, or is not known
 * @property {(error: unknown) => void} onError a request over HTTP failed; it is repeated
 */
export declare class Renewals {
    #private;
    /** When the tokens expire that were applied last, in Unix seconds; 0: none were. */
    appliedUntil: number;
    /** @param {Parts} session */
    constructor(session: Parts);
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
