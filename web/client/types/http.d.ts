import type { Platform } from "./platform.js";
import type { Push } from "./protocol.js";
import type { ResumeToken } from "./resume.js";
export type Answer = {
    push?: Push;
    over?: {
        status: number;
        reason: string;
        message: string;
        accessEndsAt: number;
    };
    retryInMs?: number;
};
export type Parts = {
    platform: Platform;
    /**
     * the service's, without http or ws
     */
    address: string;
};
/**
 * Asks for fresh tokens. Rejects if there was no answer, or not one of the service.
 * @param {Parts} parts
 * @param {ResumeToken} token
 * @param {any} signal an AbortSignal
 * @returns {Promise<Answer>}
 */
export declare function renewByHttp(parts: Parts, { session, key, ...body }: ResumeToken, signal: any): Promise<Answer>;
/**
 * Ends a session. It is a request that browsers send to another origin without asking
 * before, and after the page is gone. Rejects if the service did not end the session.
 * @param {Parts} parts
 * @param {ResumeToken} token
 */
export declare function leaveByHttp(parts: Parts, { session, ...body }: ResumeToken): Promise<void>;
