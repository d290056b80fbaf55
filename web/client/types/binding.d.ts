import type { Alarms } from "./time.js";
import type { Transitions } from "./machine.js";
export type Sdk = {
    /**
     * gives the SDK a new token while it is in the call, as `renewToken()` does. It refuses the token by a promise that rejects, or by a negative number, as Agora's native SDKs do
     */
    renew: (token: string) => unknown;
    /**
     * joins the call again with a new token, after the SDK left because its token expired. It refuses as renew does
     */
    rejoin?: (token: string) => unknown;
    /**
     * tells whether the SDK is in the call now. Leave it out for an SDK that cannot tell
     */
    isJoined?: () => boolean;
    /**
     * subscribes to the SDK's events and calls the matching report for each; returns a function that unsubscribes
     */
    listen?: (reports: Reports) => (() => void);
};
export type Reports = {
    /**
     * the SDK's token expires soon
     */
    willExpire: () => void;
    /**
     * the SDK's token expired, and the SDK has left the call
     */
    expired: () => void;
    /**
     * the SDK has left the call for another reason: the user hung up, or the SDK was removed. It gets no tokens until it reports `joined`. Pass `true` if it was not the user: while the SDK is to be rejoined, that is a failed attempt, and the next bundle is tried
     */
    left: (failed?: boolean) => void;
    /**
     * the SDK is in the call: the app has joined it, perhaps again
     */
    joined: () => void;
};
export type BindingState = "idle" | "joined" | "returned" | "left" | "expired" | "rejoining" | "unbound";
export type BindingEvent = "tokenTaken" | "joined" | "inCall" | "left" | "failed" | "expired" | "rejoin" | "rejoined" | "rejoinFailed" | "unbind";
/**
 * How an SDK gets its tokens: what a binding is made of.
 * @typedef {object} Sdk
 * @property {(token: string) => unknown} renew gives the SDK a new token while it is in the call, as `renewToken()` does. It refuses the token by a promise that rejects, or by a negative number, as Agora's native SDKs do
 * @property {(token: string) => unknown} [rejoin] joins the call again with a new token, after the SDK left because its token expired. It refuses as renew does
 * @property {() => boolean} [isJoined] tells whether the SDK is in the call now. Leave it out for an SDK that cannot tell
 * @property {(reports: Reports) => (() => void)} [listen] subscribes to the SDK's events and calls the matching report for each; returns a function that unsubscribes
 */
/**
 * What an SDK reports of its token and its call.
 * @typedef {object} Reports
 * @property {() => void} willExpire the SDK's token expires soon
 * @property {() => void} expired the SDK's token expired, and the SDK has left the call
 * @property {(failed?: boolean) => void} left the SDK has left the call for another reason: the user hung up, or the SDK was removed. It gets no tokens until it reports `joined`. Pass `true` if it was not the user: while the SDK is to be rejoined, that is a failed attempt, and the next bundle is tried
 * @property {() => void} joined the SDK is in the call: the app has joined it, perhaps again
 */
/** @typedef {"idle" | "joined" | "returned" | "left" | "expired" | "rejoining" | "unbound"} BindingState */
/** @typedef {"tokenTaken" | "joined" | "inCall" | "left" | "failed" | "expired" | "rejoin" | "rejoined" | "rejoinFailed" | "unbind"} BindingEvent */
/**
 * | state     | the SDK                                                      | the next token      |
 * |-----------|--------------------------------------------------------------|---------------------|
 * | idle      | has not joined, as far as is known                           | waits for `token()` |
 * | joined    | is in the call, as far as is known                           | renews              |
 * | returned  | joined again by itself, and got no token since               | renews, always      |
 * | left      | left for another reason than its token: the app must join it | is not for it       |
 * | expired   | left because its token expired                               | rejoins             |
 * | rejoining | is being rejoined by the app                                 | is refused          |
 * | unbound   | is no longer bound, or the session has ended                 | is not for it       |
 *
 * These events come from outside, at any time: `tokenTaken` (the app took a token
 * of the service, to join with it), `joined`, `left`, `failed` (it left without the
 * user's doing), `expired`, `unbind`. These come from a delivery: `inCall` (the SDK
 * says that it is in the call), `rejoin` (a call of the app's rejoin begins), and
 * `rejoined` or `rejoinFailed` (that call is complete). Nothing can cancel a call of
 * rejoin, so it may be complete long after the SDK has left, or was unbound.
 * @type {Transitions<BindingState, BindingEvent>}
 */
export declare const bindingTransitions: Transitions<BindingState, BindingEvent>;
/** One SDK, bound to the tokens of one service. */
export declare class Binding {
    #private;
    /** How many tokens in a row the SDK has refused. */
    refusals: number;
    /**
     * @param {Sdk} sdk
     * @param {Alarms} alarms
     */
    constructor(sdk: Sdk, alarms: Alarms);
    get state(): BindingState;
    /** Whether the SDK may get tokens at all: it has not left, and is still bound. */
    get wantsTokens(): boolean;
    /** Whether the SDK waits for a token to rejoin with. */
    get needsRejoin(): boolean;
    /**
     * Records an event that came from outside.
     * @param {"tokenTaken" | "joined" | "expired" | "unbind"} event
     * @returns {boolean} whether the state changed
     */
    on(event: "tokenTaken" | "joined" | "expired" | "unbind"): boolean;
    /**
     * Records that the SDK has left the call for another reason than its token.
     * @param {boolean} [failed] whether it was without the user's doing
     */
    left(failed?: boolean): void;
    /**
     * Gives the SDK a token: renews it, or has the app rejoin, as the state demands.
     * Rejects with the SDK's own error if it refuses.
     * @param {string} token
     * @param {boolean} previousExpired whether the tokens before this one have expired
     * @returns {Promise<boolean>} whether the SDK took it; false if it needs none now
     */
    deliver(token: string, previousExpired: boolean): Promise<boolean>;
}
/**
 * Describes an SDK's error for the service: no longer than it accepts, and without
 * the tokens that some SDKs quote. Objects without a text of their own become JSON.
 * @param {any} error
 */
export declare function describeRefusal(error: any): {
    code: string;
    message: string;
};
