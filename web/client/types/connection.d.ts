import type { Platform, WebSocketLike } from "./platform.js";
import type { Alarms, Clock } from "./time.js";
import type { ServerMessage } from "./protocol.js";
export type Parts = {
    platform: Platform;
    /**
     * the service's address without "http" or "ws", such as "s://calls.example.com"
     */
    address: string;
    clock: Clock;
    alarms: Alarms;
    /**
     * is called before each attempt; returns a function that makes the first message when the socket is open
     */
    prepare: () => Promise<() => object>;
    /**
     * a message arrived
     */
    onMessage: (message: ServerMessage) => void;
    /**
     * the service, or a proxy, has closed the socket with that code. Returns milliseconds to the next attempt, or undefined for the backoff; it may call close
     */
    onClosed: (code: number) => number | undefined;
    /**
     * the connection is lost, or the attempt has failed; the next attempt follows in retryInMs
     */
    onLost: (loss: {
        reason: string;
        retryInMs: number;
    }) => void;
    /**
     * something failed, and is retried
     */
    onError: (error: unknown) => void;
};
export type Attempt = {
    socket?: WebSocketLike;
    open?: boolean;
};
/**
 * The session's members that the connection uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {() => Promise<() => object>} prepare is called before each attempt; returns a function that makes the first message when the socket is open
 * @property {(message: ServerMessage) => void} onMessage a message arrived
 * @property {(code: number) => number | undefined} onClosed the service, or a proxy, has closed the socket with that code. Returns milliseconds to the next attempt, or undefined for the backoff; it may call close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost the connection is lost, or the attempt has failed; the next attempt follows in retryInMs
 * @property {(error: unknown) => void} onError something failed, and is retried
 */
/**
 * An attempt to connect. Once its socket is open, the attempt is the connection.
 * @typedef {{socket?: WebSocketLike, open?: boolean}} Attempt
 */
export declare class Connection {
    #private;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** Whether the service has answered join or resume on this connection. */
    get live(): boolean;
    /** Begins an attempt now, in place of the current one. */
    open(): Promise<void>;
    /** @param {object} message dropped if no socket is open: the service repeats each message that needs an answer */
    send(message: object): void;
    /**
     * Makes the connection live, because the service answered join or resume.
     * @param {number} heartbeatMs
     */
    joined(heartbeatMs: number): void;
    /**
     * Connects again after a time that the service has set. Until then the current socket stays open, unless the
     * service closes it.
     * @param {number} afterMs
     * @param {string} reason
     */
    move(afterMs: number, reason: string): void;
    /**
     * Pings a live connection. Without a connection, begins an attempt now, unless the service has set the time
     * of the next attempt. An attempt that is older than restartAfter is replaced, since its network may be gone.
     * That attempt is closed first, since browsers open only one WebSocket to a host at a time.
     */
    wake(): void;
    /**
     * Abandons the current attempt and begins another at once, because the session has ended.
     * @param {string} reason
     */
    restart(reason: string): void;
    close(): void;
}
