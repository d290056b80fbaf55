import type { Bundle, DeliveryQueue, Outcome } from "./delivery.js";
import type { Reports, Sdk } from "./binding.js";
import type { Service } from "./protocol.js";
import type { Platform } from "./platform.js";
import type { Renewals } from "./renewals.js";
import type { Alarms, Clock } from "./time.js";
export type Parts = {
    platform: Platform;
    clock: Clock;
    alarms: Alarms;
    deliveries: DeliveryQueue;
    renewals: Renewals;
};
/**
 * The session's members that the registry uses.
 * @typedef {object} Parts
 * @property {Platform} platform
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
     * Binds an SDK. If the SDK's listen throws, it is not bound.
     * @param {Service} service
     * @param {Sdk} sdk
     * @returns {Reports & {unbind: () => void}}
     */
    bind(service: Service, sdk: Sdk): Reports & {
        unbind: () => void;
    };
    close(): void;
    /**
     * Prepares for another session, whose bundles are numbered from 1. A token of the old session now counts as a
     * token from elsewhere.
     */
    reset(): void;
    /**
     * Records that the app took a token to join with.
     * @param {Service} service
     * @param {number} seq number of the token's bundle; 0 if the token came from elsewhere
     */
    tokenTaken(service: Service, seq: number): void;
    /**
     * Delivers a bundle to all bound SDKs at once, and waits for all of them. If one SDK refuses its token, the
     * bundle counts as refused, and the service makes another bundle. But an SDK that always refuses must not
     * cause new bundles for ever: see maxRefusals.
     * @param {Bundle} bundle
     * @returns {Promise<Outcome>}
     */
    deliver({ tokens, rejoin }: Bundle): Promise<Outcome>;
}
