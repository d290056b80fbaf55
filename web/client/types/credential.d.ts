import type { Alarms } from "./time.js";
export declare class Credential {
    #private;
    /**
     * @param {string | (() => string | Promise<string>) | undefined} source the credential, or the app's function that fetches one
     * @param {Alarms} alarms
     */
    constructor(source: string | (() => string | Promise<string>) | undefined, alarms: Alarms);
    /** Whether the app has passed a credential, or a function that fetches one. */
    get given(): boolean;
    /**
     * The credential for the next session. One fetch serves all connection attempts,
     * so that an outage of the service does not become a load on the app's back end.
     * @returns {string | undefined | Promise<string>}
     */
    get(): string | undefined | Promise<string>;
    /** Forgets the credential: the next session fetches another one. */
    discard(): void;
    /** Records that the service accepted the credential, or the session's resume key. */
    accepted(): void;
    /**
     * Records that the service refused the credential, most likely since it expired.
     * @returns {boolean} whether another one can be tried: once in a row, and only if a function fetches it
     */
    refused(): boolean;
}
