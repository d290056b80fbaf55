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
/**
 * The service's answer: tokens, or that there are none any more, or that it can't
 * say now; retryInMs is 0 where it did not say when to come back.
 * @typedef {{push?: Push, over?: {status: number, reason: string, message: string, accessEndsAt: number}, retryInMs?: number}} Answer
 */
/**
 * Asks for fresh tokens. Rejects if there was no answer, or not one of the service.
 * @param {Platform} platform
 * @param {string} url of the sessions
 * @param {ResumeToken} token
 * @param {any} signal an AbortSignal
 * @returns {Promise<Answer>}
 */
export declare function renewByHttp(platform: Platform, url: string, { session, key, seq, expiresAt }: ResumeToken, signal: any): Promise<Answer>;
