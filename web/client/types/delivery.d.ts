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
     * a bundle that has expired is neither accepted, nor delivered, nor answered
     */
    clock: Clock;
    bindings: {
        deliver: (bundle: Bundle) => Promise<Outcome>;
    };
    onDelivered: (bundle: Bundle, outcome: Outcome) => void;
};
/** @import { BundleInfo, Cause, Via } from "./events.js" */
/** @import { Service, Tokens } from "./protocol.js" */
/** @import { Clock } from "./time.js" */
/**
 * A set of tokens, one for each service of the identity.
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
/** @typedef {{service: Service, code: string, message: string}} Refusal what one SDK refused a token with */
/**
 * What became of a bundle. `took` lists the services whose SDK took its token.
 * It can be ok in spite of a refusal: see Bindings.deliver.
 * @typedef {{took: Service[]} & ({ok: true, refusal?: Refusal | null} | {ok: false, refusal: Refusal})} Outcome
 */
/**
 * What the queue needs of the session.
 * @typedef {object} Parts
 * @property {Clock} clock a bundle that has expired is neither accepted, nor delivered, nor answered
 * @property {{deliver: (bundle: Bundle) => Promise<Outcome>}} bindings
 * @property {(bundle: Bundle, outcome: Outcome) => void} onDelivered
 */
export declare class DeliveryQueue {
    #private;
    /** The newest bundle that was received. @type {Bundle | null} */
    newest: Bundle | null;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** The newest bundle's number; 0 before the first. */
    get seq(): number;
    /** When the newest bundle expires, in Unix seconds; 0 before the first. */
    get expiresAt(): number;
    /** Whether the newest bundle was delivered, and refused. */
    get refused(): boolean;
    /**
     * Accepts a bundle that was received. One that was received before, or is older
     * than the newest, is not delivered.
     * @param {Bundle} bundle
     * @returns {boolean} whether it is new
     */
    offer(bundle: Bundle): boolean;
    /** Delivers the newest bundle again, unless a newer one waits already. */
    redeliver(): void;
    /** Forgets everything: another session begins. */
    reset(): void;
}
/**
 * What the events say of a bundle: everything but its tokens.
 * @param {Bundle} bundle
 * @returns {BundleInfo}
 */
export declare function describeBundle({ tokens, receivedAt, renewed, ...info }: Bundle): BundleInfo;
