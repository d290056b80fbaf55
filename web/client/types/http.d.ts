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
     * the service's address without "http" or "ws", such as "s://calls.example.com"
     */
    address: string;
};
/**
 * Requests new tokens. Rejects if there is no answer, or if the answer is not the service's (such
 * as a proxy's error page).
 * @param {Parts} parts
 * @param {ResumeToken} token
 * @param {any} signal an AbortSignal
 * @returns {Promise<Answer>}
 */
export declare function renewByHttp(parts: Parts, { session, key, ...body }: ResumeToken, signal: any): Promise<Answer>;
/**
 * Ends a session. Browsers send this request without a CORS preflight, and complete it even after
 * the page is gone. Rejects if the service did not end the session.
 * @param {Parts} parts
 * @param {ResumeToken} token
 */
export declare function leaveByHttp(parts: Parts, { session, ...body }: ResumeToken): Promise<void>;
