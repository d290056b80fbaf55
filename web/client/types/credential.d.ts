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
     * Returns the credential for the next session. All attempts to connect share one fetch, so that an outage of
     * the service causes no load on the app's back end.
     * @returns {string | undefined | Promise<string>}
     */
    get(): string | undefined | Promise<string>;
    discard(): void;
    /** Records that the service accepted the credential, or the session's resume key. */
    accepted(): void;
    /**
     * Records that the service refused the credential, most likely because it expired.
     * @returns {boolean} whether to try another credential: only if a function can fetch it, and only if the previous
     * credential was not refused, too
     */
    refused(): boolean;
}
