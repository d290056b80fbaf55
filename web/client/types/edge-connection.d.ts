import type { Platform } from "./platform.js";
export type Answer = {
    id: number;
    ok: boolean;
    publish?: boolean;
    code?: number;
    error?: string;
};
export type EdgeEvent = {
    event: string;
    reason?: string;
};
/** @import { Platform } from "./platform.js" */
/** @typedef {{id: number, ok: boolean, publish?: boolean, code?: number, error?: string}} Answer */
/** @typedef {{event: string, reason?: string}} EdgeEvent */
export declare class EdgeConnection {
    #private;
    reached: boolean;
    /** Resolves when the connection breaks, but not on close(). @type {Promise<void>} */
    lost: Promise<void>;
    /**
     * @param {Platform["WebSocket"]} WebSocket
     * @param {string} url
     * @param {(event: EdgeEvent) => void} onevent
     */
    constructor(WebSocket: Platform["WebSocket"], url: string, onevent: (event: EdgeEvent) => void);
    /**
     * Sends a request. Resolves with the answer, or with undefined if the connection breaks first.
     * @param {string} op
     * @param {object} fields
     * @returns {Promise<Answer | undefined>}
     */
    request(op: string, fields: object): Promise<Answer | undefined>;
    close(): void;
}
