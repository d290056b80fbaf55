import type { BundleInfo, Cause, Via } from "./events.js";
import type { Service, Tokens } from "./protocol.js";
import type { Clock } from "./time.js";
export type Bundle = {
    /**
     * the bundle's number in its session; a higher one is newer
     */
    seq: number;
    tokens: Tokens;
    /**
     * whether the previous tokens had expired, so that the SDKs have to join again
     */
    rejoin: boolean;
    /**
     * when the first of its tokens expires, in Unix seconds
     */
    expiresAt: number;
    cause: Cause;
    attempt: number;
    via: Via;
    /**
     * in milliseconds by the library's clock
     */
    receivedAt: number;
    /**
     * whether the event `renewed` was emitted for it
     */
    renewed?: boolean;
};
export type Refusal = {
    service: Service;
    code: string;
    message: string;
};
export type Outcome = {
    took: Service[];
} & ({
    ok: true;
    refusal?: Refusal | null;
} | {
    ok: false;
    refusal: Refusal;
});
export type Parts = {
    /**
     * tells whether a bundle has expired. The queue does not accept, deliver or acknowledge an expired bundle
     */
    clock: Clock;
    bindings: {
        deliver: (bundle: Bundle) => Promise<Outcome>;
    };
    /**
     * is called with the outcome of each delivery, and again when the service repeats the bundle
     */
    onDelivered: (bundle: Bundle, outcome: Outcome) => void;
};
/** @import { BundleInfo, Cause, Via } from "./events.js" */
/** @import { Service, Tokens } from "./protocol.js" */
/** @import { Clock } from "./time.js" */
/**
 * A set of tokens that were minted together, one for each service of the identity.
 * @typedef {object} Bundle
 * @property {number} seq the bundle's number in its session; a higher one is newer
 * @property {Tokens} tokens
 * @property {boolean} rejoin whether the previous tokens had expired, so that the SDKs have to join again
 * @property {number} expiresAt when the first of its tokens expires, in Unix seconds
 * @property {Cause} cause
 * @property {number} attempt
 * @property {Via} via
 * @property {number} receivedAt in milliseconds by the library's clock
 * @property {boolean} [renewed] whether the event `renewed` was emitted for it
 */
/** @typedef {{service: Service, code: string, message: string}} Refusal an SDK's refusal of a token */
/**
 * The outcome of a delivery. `took` lists the services whose SDK accepted its token. `ok` can be
 * true despite a refusal: see BindingRegistry.deliver.
 * @typedef {{took: Service[]} & ({ok: true, refusal?: Refusal | null} | {ok: false, refusal: Refusal})} Outcome
 */
/**
 * The session's members that the queue uses.
 * @typedef {object} Parts
 * @property {Clock} clock tells whether a bundle has expired. The queue does not accept, deliver or acknowledge an expired bundle
 * @property {{deliver: (bundle: Bundle) => Promise<Outcome>}} bindings
 * @property {(bundle: Bundle, outcome: Outcome) => void} onDelivered is called with the outcome of each delivery, and again when the service repeats the bundle
 */
export declare class DeliveryQueue {
    #private;
    /** @type {Bundle | null} */
    newest: Bundle | null;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** The newest bundle's number; 0 before the first. */
    get seq(): number;
    /** When the newest bundle expires, in Unix seconds; 0 before the first. */
    get expiresAt(): number;
    get refused(): boolean;
    /**
     * Delivers a bundle that has arrived, unless it is older than the newest bundle or has arrived before.
     * @param {Bundle} bundle
     * @returns {boolean} whether it is new
     */
    offer(bundle: Bundle): boolean;
    /** Delivers the newest bundle again, unless a newer bundle waits. */
    redeliver(): void;
    /** Forgets all bundles, because another session begins. */
    reset(): void;
}
/**
 * Describes a bundle for events: without its tokens, and without the fields that only the library
 * uses.
 * @param {Bundle} bundle
 * @returns {BundleInfo}
 */
export declare function describeBundle({ tokens, receivedAt, renewed, ...info }: Bundle): BundleInfo;
