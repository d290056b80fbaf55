import type { Bundle, DeliveryQueue, Outcome } from "./delivery.js";
import type { Reports, Sdk } from "./binding.js";
import type { Service } from "./protocol.js";
import type { Renewals } from "./renewals.js";
import type { Alarms, Clock } from "./time.js";
export type Parts = {
    clock: Clock;
    alarms: Alarms;
    deliveries: DeliveryQueue;
    renewals: Renewals;
};
/**
 * What the registry needs of the session.
 * @typedef {object} Parts
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {DeliveryQueue} deliveries
 * @property {Renewals} renewals
 */
export declare class BindingRegistry {
    #private;
    /** @param {Parts} session */
    constructor(session: Parts);
    /**
     * Binds an SDK. If its listen throws, nothing is bound.
     * @param {Service} service
     * @param {Sdk} sdk
     * @returns {Reports & {unbind: () => void}}
     */
    bind(service: Service, sdk: Sdk): Reports & {
        unbind: () => void;
    };
    /** Unbinds all: the session has ended. */
    close(): void;
    /** Another session begins, which numbers its bundles from 1: the tokens that the app joined with are from elsewhere. */
    reset(): void;
    /**
     * Records that the app took a token to join with.
     * @param {Service} service
     * @param {number} seq of the bundle that it is from; 0: the token is from elsewhere
     */
    tokenTaken(service: Service, seq: number): void;
    /**
     * Delivers a bundle to all bound SDKs at the same time, and waits for all of them.
     *
     * The bundle is refused if one of them refused, since the service can make
     * another. But an SDK that refuses always must not keep the others in new tokens
     * without end: after maxRefusals in a row it no longer counts, where others took the bundle.
     * @param {Bundle} bundle
     * @returns {Promise<Outcome>}
     */
    deliver({ tokens, rejoin }: Bundle): Promise<Outcome>;
}
