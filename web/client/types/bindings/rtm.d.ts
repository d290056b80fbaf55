/** @import { Reports, Sdk } from "../binding.js" */
/** @import { Refresher } from "../refresher.js" */
import type { Refresher } from "../refresher.js";
export type RtmClient = {
    renewToken: (token: string, options?: {
        channelName: string;
    }) => Promise<unknown>;
    addEventListener: (event: any, listener: any) => void;
    removeEventListener: (event: any, listener: any) => void;
};
/**
 * The part of the RTMClient of agora-rtm 2 or agora-react-native-rtm 2 that the bindings use.
 * @typedef {object} RtmClient
 * @property {(token: string, options?: {channelName: string}) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} addEventListener
 * @property {(event: any, listener: any) => void} removeEventListener
 */
/**
 * Renews the token of a client's login.
 * @param {Refresher} refresher
 * @param {RtmClient} client
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the login ended because its token expired: it logs out, and logs in with the new token
 * @returns {() => void} unbinds the client
 */
export declare function bindRtm(refresher: Refresher, client: RtmClient, { rejoin }?: {
    rejoin?: (token: string) => unknown;
}): () => void;
/**
 * Renews the token of one stream channel of a client. A stream channel needs an RTC token for the
 * channel and the RTM user, so the Refresher must have `rtc: { channel, account: userId }`.
 * @param {Refresher} refresher
 * @param {RtmClient} client
 * @param {string} channelName
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the channel's token expired: it joins the channel again with the new token
 * @returns {() => void} unbinds the channel
 */
export declare function bindStreamChannel(refresher: Refresher, client: RtmClient, channelName: string, { rejoin }?: {
    rejoin?: (token: string) => unknown;
}): () => void;
