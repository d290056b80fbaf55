export type Platform = {
    WebSocket: new (url: string, protocols: string) => WebSocketLike;
    /**
     * as a browser has it; the signal is an AbortSignal, which has no type where there are none of a DOM
     */
    fetch: (url: string, init: {
        method: string;
        headers: Record<string, string>;
        body: string;
        signal: any;
    }) => Promise<ResponseLike>;
    setTimeout: (run: () => void, ms: number) => unknown;
    clearTimeout: (timer: any) => void;
    /**
     * Unix milliseconds, by the device's clock
     */
    wallNow: () => number;
    /**
     * milliseconds that nobody can set back
     */
    steadyNow: () => number;
    /**
     * from 0 to 1
     */
    random: () => number;
    /**
     * calls hide before the page goes away, perhaps for good; returns what stops that. Absent where there is no page
     */
    onHide?: (hide: () => void) => () => void;
    /**
     * calls wake when the device or the page may have slept or changed its network; returns what stops that
     */
    onWake: (wake: () => void) => () => void;
};
export type WebSocketLike = {
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    onerror: ((event: any) => void) | null;
    send: (data: string) => void;
    close: (code?: number, reason?: string) => void;
};
export type ResponseLike = {
    status: number;
    headers: {
        get(name: string): string | null;
    };
    json(): Promise<any>;
};
/**
 * @typedef {object} Platform
 * @property {new (url: string, protocols: string) => WebSocketLike} WebSocket
 * @property {(url: string, init: {method: string, headers: Record<string, string>, body: string, signal: any}) => Promise<ResponseLike>} fetch as a browser has it; the signal is an AbortSignal, which has no type where there are none of a DOM
 * @property {(run: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} wallNow Unix milliseconds, by the device's clock
 * @property {() => number} steadyNow milliseconds that nobody can set back
 * @property {() => number} random from 0 to 1
 * @property {(hide: () => void) => () => void} [onHide] calls hide before the page goes away, perhaps for good; returns what stops that. Absent where there is no page
 * @property {(wake: () => void) => () => void} onWake calls wake when the device or the page may have slept or changed its network; returns what stops that
 */
/**
 * The part of a WebSocket that is used.
 * @typedef {object} WebSocketLike
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */
/** @typedef {{status: number, headers: {get(name: string): string | null}, json(): Promise<any>}} ResponseLike */
/**
 * @param {Partial<Platform>} [own] what replaces the defaults
 * @returns {Platform}
 */
export declare function platform(own?: Partial<Platform>): Platform;
