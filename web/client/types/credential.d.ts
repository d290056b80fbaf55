import type { Alarms } from "./time.js";
export declare class Credential {
    #private;
    /**
     * @param {string | (() => string | Promise<string>) | undefined} source the credential, or the app's function that fetches one
     * @param {Alarms} alarms
     */
    constructor(source: string | (() => string | Promise<string>) | undefined, alarms: Alarms);
    /**
     * The credential for the next session. One fetch serves all connection attempts,
     * so that an outage of the service does not become a load on the app's back end.
     * @returns {string | undefined | Promise<string>}
     */
    get(): string | undefined | Promise<string>;
    /** The next session needs another one. */
    discard(): void;
    /** The service has accepted the credential, or the session's resume key. */
    accepted(): void;
    /**
     * The service has refused the credential: most likely it expired.
     * @returns {boolean} whether another one can be tried: one time in a row, if a function fetches it
     */
    refused(): boolean;
}
