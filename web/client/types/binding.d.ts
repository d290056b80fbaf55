import type { Alarms } from "./time.js";
import type { BindingEvent, BindingState } from "./states.js";
export type Sdk = {
    /**
     * gives the SDK a new token while it is in the call, as `renewToken()` does. To refuse the token, it returns a promise that rejects, or a negative number, as Agora's native SDKs do
     */
    renew: (token: string) => unknown;
    /**
     * joins the call again with a new token, after the SDK left because its token expired. It refuses a token as renew does
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
     * the SDK has left the call for another reason: the user hung up, or the SDK was removed. It gets no tokens until it reports `joined`. Pass `true` if the user did not cause it: an SDK that waits for a rejoin then counts this as a failed attempt, and the next bundle is tried. The reason, if it is not empty, is shown in the console
     */
    left: (failed?: boolean, reason?: string) => void;
    /**
     * the SDK is in the call: the app has joined it, perhaps again
     */
    joined: () => void;
};
export declare class Binding {
    #private;
    refusals: number;
    /**
     * @param {Sdk} sdk
     * @param {Alarms} alarms
     */
    constructor(sdk: Sdk, alarms: Alarms);
    get state(): BindingState;
    /** Whether tokens should be delivered to the SDK: it has not left the call, and is still bound. */
    get wantsTokens(): boolean;
    get needsRejoin(): boolean;
    /**
     * Changes the state according to the table bindingTransitions.
     * @param {BindingEvent} event
     * @returns {boolean} whether it changed
     */
    dispatch(event: BindingEvent): boolean;
    /**
     * Records that the SDK has left the call for another reason than an expired token.
     * @param {boolean} [failed] whether something other than the user caused it
     * @returns {boolean} whether it was in the call, as far as the library knew
     */
    left(failed?: boolean): boolean;
    /**
     * Delivers a token to the SDK. Calls renew; or rejoin, if the SDK left the call because its token
     * expired. Rejects with the SDK's own error if the SDK refuses the token.
     * @param {string} token
     * @param {boolean} previousExpired whether the tokens before this one have expired
     * @returns {Promise<boolean>} whether the SDK took it; false if it needs none now
     */
    deliver(token: string, previousExpired: boolean): Promise<boolean>;
}
/**
 * Replaces tokens and credentials in a text by "(token)".
 * @param {string} text
 */
export declare const withoutTokens: (text: string) => string;
/**
 * Describes an SDK's error for the service: within the lengths that the service accepts, and
 * without the tokens that some SDKs quote. An object without a message becomes JSON.
 * @param {any} error
 */
export declare function describeRefusal(error: any): {
    code: string;
    message: string;
};
