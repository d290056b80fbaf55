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
     * the service's address after "http" or "ws", such as "s://calls.example.com"
     */
    address: string;
};
/**
 * Requests fresh tokens. Rejects if no answer came, or if it is not the service's (a
 * proxy's error page).
 * @param {Parts} parts
 * @param {ResumeToken} token
 * @param {any} signal an AbortSignal
 * @returns {Promise<Answer>}
 */
export declare function renewByHttp(parts: Parts, { session, key, ...body }: ResumeToken, signal: any): Promise<Answer>;
/**
 * Ends a session. Browsers send this request to another origin without a CORS
 * preflight, and also after the page is gone. Rejects if the service did not end the
 * session.
 * @param {Parts} parts
 * @param {ResumeToken} token
 */
export declare function leaveByHttp(parts: Parts, { session, ...body }: ResumeToken): Promise<void>;
