import type { Refresher } from "../refresher.js";
export type EngineConnection = {
    channelId?: string;
    localUid?: number;
};
export type Engine = {
    renewToken: (token: string) => number;
    updateChannelMediaOptionsEx: (options: {
        token?: string;
    }, connection: EngineConnection) => number;
    getConnectionState: () => number;
    getConnectionStateEx: (connection: EngineConnection) => number;
    registerEventHandler: (handler: any) => boolean;
    unregisterEventHandler: (handler: any) => boolean;
};
/**
 * Renews the token of one connection of an engine. Call it before joining.
 * @param {Refresher} refresher
 * @param {Engine} engine what createAgoraRtcEngine() returns
 * @param {EngineConnection} connection the channelId and the localUid with which the call is joined. Leave localUid out if it is 0, or if the call is joined with a user account
 * @param {{ex?: boolean}} [options] ex: whether the connection is joined by joinChannelEx, and not by joinChannel
 * @returns {() => void} unbinds the connection
 */
export declare function bindEngine(refresher: Refresher, engine: Engine, connection: EngineConnection, { ex }?: {
    ex?: boolean;
}): () => void;
