/** @import { Reports } from "../binding.js" */
/** @import { Refresher } from "../refresher.js" */
import type { Refresher } from "../refresher.js";
export type RtcClient = {
    connectionState: string;
    renewToken: (token: string) => Promise<unknown>;
    on: (event: any, listener: any) => void;
    off: (event: any, listener: any) => void;
};
/**
 * The part of agora-rtc-sdk-ng's IAgoraRTCClient that bindRtc uses.
 * @typedef {object} RtcClient
 * @property {string} connectionState
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} on
 * @property {(event: any, listener: any) => void} off
 */
/**
 * Renews the token of a client of agora-rtc-sdk-ng for as long as it is in the call.
 * @param {Refresher} refresher
 * @param {RtcClient} client
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the SDK left the call because its token expired: it joins the call again with the new token, and publishes
 * @returns {() => void} unbinds the client
 */
export declare function bindRtc(refresher: Refresher, client: RtcClient, { rejoin }?: {
    rejoin?: (token: string) => unknown;
}): () => void;
