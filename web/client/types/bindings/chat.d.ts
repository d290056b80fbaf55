/** @import { Reports } from "../binding.js" */
/** @import { Refresher } from "../refresher.js" */
import type { Refresher } from "../refresher.js";
export type ChatClient = {
    renewToken: (token: string) => Promise<unknown>;
    addEventHandler: (id: string, handler: object) => void;
    removeEventHandler: (id: string) => void;
};
/**
 * The part of agora-chat's connection that bindChat uses.
 * @typedef {object} ChatClient
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(id: string, handler: object) => void} addEventHandler
 * @property {(id: string) => void} removeEventHandler
 */
/**
 * Renews the token of a connection of agora-chat.
 * @param {Refresher} refresher
 * @param {ChatClient} client
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the connection's token expired: it closes the connection, and opens it again with the new token
 * @returns {() => void} unbinds the connection
 */
export declare function bindChat(refresher: Refresher, client: ChatClient, { rejoin }?: {
    rejoin?: (token: string) => unknown;
}): () => void;
