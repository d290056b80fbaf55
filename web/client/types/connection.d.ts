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
 * An attempt to connect. When its socket is open, it is the connection.
 * @typedef {{socket?: WebSocketLike, open?: boolean}} Attempt
 */
export declare class Connection {
    #private;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** Whether the service has answered join or resume on this connection. */
    get live(): boolean;
    /** Begins an attempt now. It replaces the current one. */
    open(): Promise<void>;
    /** @param {object} message dropped if no socket is open: the service repeats each message that needs an answer */
    send(message: object): void;
    /**
     * Records that the service answered join or resume: the connection is live.
     * @param {number} heartbeatMs
     */
    joined(heartbeatMs: number): void;
    /**
     * Connects again after a time that the service has set. The current socket stays open until then,
     * unless the service closes it.
     * @param {number} afterMs
     * @param {string} reason
     */
    move(afterMs: number, reason: string): void;
    /**
     * Pings a live connection. If there is none, begins an attempt now, unless the service has set
     * the time of the next attempt. An attempt that has taken longer than restartAfter is replaced:
     * it may use a network that is gone. It must be closed first, since browsers open one WebSocket
     * to a host at a time.
     */
    wake(): void;
    /**
     * Abandons the current attempt and begins another at once, because the session has ended.
     * @param {string} reason
     */
    restart(reason: string): void;
    /** Closes the connection. No attempt follows. */
    close(): void;
}
