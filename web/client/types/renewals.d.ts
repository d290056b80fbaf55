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
     * the service's address without "http" or "ws", such as "s://calls.example.com"
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
 * The session's members that renewals use.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
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
    /** When the tokens that the SDKs accepted last expire, in Unix seconds; 0 before the first. */
    appliedUntil: number;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** @param {number} renewBefore in seconds */
    connected(renewBefore: number): void;
    reset(): void;
    stop(): void;
    request(): void;
    /** Requests new tokens when an SDK warns that its token expires soon, if the service's push is late. */
    willExpire(): void;
    /**
     * Handles a bundle that had expired when it arrived, since it was delayed or this device's clock is ahead.
     * Sends a ping, whose answer corrects the clock, and requests new tokens.
     */
    arrivedExpired(): void;
    /**
     * Records that a new bundle arrived.
     * @param {number} previousSeq number of the previous bundle
     * @param {number} previousExpiresAt expiry of the previous bundle, in Unix seconds
     */
    arrived(previousSeq: number, previousExpiresAt: number): void;
    /**
     * Records that the SDKs accepted tokens.
     * @param {number} expiresAt in Unix seconds
     * @returns {number} remaining life of the previous tokens in milliseconds; Infinity if there were none
     */
    applied(expiresAt: number): number;
    schedule(): void;
    /**
     * Delays the next request over HTTP by the backoff.
     * @param {number} [leastMs] the shortest delay
     */
    backOff(leastMs?: number): void;
}
