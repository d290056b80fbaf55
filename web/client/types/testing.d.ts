import type { Platform } from "./platform.js";
export type State = "DISCONNECTED" | "CONNECTING" | "CONNECTED" | "RECONNECTING";
export type Membership = {
    channel: string;
    user: string;
    /**
     * the newest token
     */
    token: string;
    /**
     * the token that the simulated edge received last; "" before the edge admitted the client
     */
    admittedBy: string;
};
/**
 * Makes a client. Use it in place of `AgoraRTC.createClient()`.
 * @param {string} service address of `refresher demo`, such as "http://127.0.0.1:8080", with its base path if it has one
 * @param {{WebSocket?: Platform["WebSocket"]}} [platform] by default the browser's WebSocket
 */
export declare function createClient(service: string, { WebSocket }?: {
    WebSocket?: Platform["WebSocket"];
}): EdgeClient;
/** The error with which methods fail. It has the form of the SDK's errors. */
export declare class SdkError extends Error {
    code: string;
    edgeCode: number;
    /**
     * @param {string} code one of the SDK's error codes
     * @param {string} message
     * @param {number} [edgeCode] the edge's own code; 0 if the edge did not answer
     */
    constructor(code: string, message: string, edgeCode?: number);
}
export declare class EdgeClient {
    #private;
    /** @type {State} */
    connectionState: State;
    /**
     * Whether the current token allows its holder to publish. The SDK has no such property: its publish() rejects
     * if the token does not allow it.
     */
    mayPublish: boolean;
    /** Whether renewToken rejects, as the SDK's renewToken sometimes does. The SDK has no such property. */
    refusing: boolean;
    /**
     * @param {string} url of the edge
     * @param {Platform["WebSocket"]} WebSocket
     */
    constructor(url: string, WebSocket: Platform["WebSocket"]);
    /**
     * @param {string} event
     * @param {(...details: any[]) => void} listener
     */
    on(event: string, listener: (...details: any[]) => void): void;
    /**
     * @param {string} event
     * @param {(...details: any[]) => void} listener
     */
    off(event: string, listener: (...details: any[]) => void): void;
    /**
     * Joins a call. Resolves with the uid when the simulated edge has admitted the client.
     * @param {string} appId is not sent, since the simulated edge serves only one App ID
     * @param {string} channel
     * @param {string} token
     * @param {number} uid
     */
    join(appId: string, channel: string, token: string, uid: number): Promise<number>;
    leave(): Promise<void>;
    /** @param {string} token */
    renewToken(token: string): Promise<void>;
    /**
     * Resolves if the client is in a call and its token allows it to publish. Sends no media.
     * @param {unknown} [_tracks]
     */
    publish(_tracks?: unknown): Promise<void>;
    /** @param {unknown} [_tracks] */
    unpublish(_tracks?: unknown): Promise<void>;
}
