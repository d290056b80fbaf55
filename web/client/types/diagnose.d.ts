import type { Platform } from "./platform.js";
import type { Identity } from "./protocol.js";
import type { State } from "./events.js";
import type { ResumeToken } from "./resume.js";
/**
 * Returns the service's address without its scheme's "http" or "ws": "s://calls.example.com" for
 * "https://calls.example.com". Also accepts the WebSocket's address. Throws a TypeError that says
 * what to write.
 * @param {unknown} url the option
 */
export declare function parseUrl(url: unknown): string;
/**
 * Returns a credential without surrounding spaces. Throws a TypeError if the value cannot be a
 * credential.
 * @param {any} value
 * @param {string} source the value's source, with which the error's message begins
 * @returns {string}
 */
export declare function parseCredential(value: any, source: string): string;
export type Parts = {
    platform: Platform;
    /**
     * the service's address without "http" or "ws", such as "s://calls.example.com"
     */
    address: string;
    identity: Identity;
    state: State;
    resume: {
        token: ResumeToken | null;
    };
};
/**
 * The session's members that a Diagnosis uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
 * @property {Identity} identity
 * @property {State} state
 * @property {{token: ResumeToken | null}} resume
 */
/** Until the session has joined for the first time, warns in the console, once for each cause. */
export declare class Diagnosis {
    #private;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** Warns about a credential that could not be fetched. @param {unknown} error the error of the app's credential function, or of parseCredential */
    credentialFailed(error: unknown): void;
    /**
     * Warns about an attempt to connect that failed before the service answered.
     * @param {string} reason of the event `lost`
     */
    notConnected(reason: string): void;
    /**
     * Warns about a join that the service refused.
     * @param {string} code of the service's message `error`
     * @param {string} message
     * @param {boolean} hasCredential whether the app passes a credential
     */
    refused(code: string, message: string, hasCredential: boolean): void;
}
