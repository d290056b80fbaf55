import type { Platform, WebSocketLike } from "./platform.js";
import type { Alarms, Clock } from "./time.js";
import type { ServerMessage } from "./protocol.js";
export type Parts = {
    platform: Platform;
    /**
     * the service's, without http or ws
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
     * something failed that is tried again
     */
    onError: (error: unknown) => void;
};
export type Attempt = {
    socket?: WebSocketLike;
    open?: boolean;
};
/**
 * What a connection needs of the session.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's, without http or ws
 * @property {Clock} clock
 * @property {Alarms} alarms
 * @property {() => Promise<() => object>} prepare is called before each attempt; returns a function that makes the first message when the socket is open
 * @property {(message: ServerMessage) => void} onMessage a message arrived
 * @property {(code: number) => number | undefined} onClosed the service, or a proxy, has closed the socket with that code. Returns milliseconds to the next attempt, or undefined for the backoff; it may call close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost the connection is lost, or the attempt has failed; the next attempt follows in retryInMs
 * @property {(error: unknown) => void} onError something failed that is tried again
 */
/**
 * An attempt to connect, and the connection that it becomes.
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
    /** @param {object} message is dropped if no socket is open: the service repeats what it needs an answer to */
    send(message: object): void;
    /**
     * Records that the service answered join or resume: the connection is live.
     * @param {number} heartbeatMs
     */
    joined(heartbeatMs: number): void;
    /**
     * Connects again after a time that the service set. The socket stays open until
     * then, unless the service closes it.
     * @param {number} afterMs
     * @param {string} reason
     */
    move(afterMs: number, reason: string): void;
    /**
     * Pings a live connection; without one, begins an attempt now, unless the service
     * has set its time. It takes the place of one that is still connecting: that may be
     * bound to a network that is gone, and browsers open one WebSocket to a host at a
     * time, so a second would queue.
     */
    wake(): void;
    /** Begins the current attempt again: it was prepared for a session that has ended. */
    restart(): void;
    /** Closes the connection, for good. */
    close(): void;
}
