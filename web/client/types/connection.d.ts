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
     * gets ready for a connection; what it returns makes the first message, when the socket is open
     */
    prepare: () => Promise<() => object>;
    onMessage: (message: ServerMessage) => void;
    /**
     * the other side has closed, with that code; it is come back to after the span that this returns, or else the backoff, unless this calls close
     */
    onClosed: (code: number) => number | undefined;
    /**
     * there is no connection; the next attempt follows after that span
     */
    onLost: (loss: {
        reason: string;
        retryInMs: number;
    }) => void;
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
 * @property {() => Promise<() => object>} prepare gets ready for a connection; what it returns makes the first message, when the socket is open
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(code: number) => number | undefined} onClosed the other side has closed, with that code; it is come back to after the span that this returns, or else the backoff, unless this calls close
 * @property {(loss: {reason: string, retryInMs: number}) => void} onLost there is no connection; the next attempt follows after that span
 * @property {(error: unknown) => void} onError
 */
/** @typedef {{socket?: WebSocketLike, open?: boolean}} Attempt */
export declare class Connection {
    #private;
    /** @param {Parts} session */
    constructor(session: Parts);
    /** Whether the service has answered join or resume on this connection. */
    get live(): boolean;
    /** Opens a socket now, in place of the one that there is. */
    open(): Promise<void>;
    /** @param {object} message is lost if no socket is open: the other side will ask again */
    send(message: object): void;
    /**
     * Says that join or resume succeeded.
     * @param {number} heartbeatMs
     */
    joined(heartbeatMs: number): void;
    /**
     * Obeys the service's wish to connect anew after a span; the socket goes on
     * until then, if the service does not close it.
     * @param {number} afterMs
     * @param {string} reason
     */
    move(afterMs: number, reason: string): void;
    /**
     * Pings a live connection; without one, begins an attempt now. It takes the place
     * of one that is still connecting: that may be bound to a network that is gone,
     * and browsers open one WebSocket to a host at a time, so a second would queue.
     */
    wake(): void;
    /** Begins the attempt that is under way again, since what it was prepared for is no more. */
    restart(): void;
    /** Stops for good. */
    close(): void;
}
