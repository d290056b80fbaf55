/** @import { Reports, Sdk } from "./binding.js" */
/** @import { Events } from "./events.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Identity, Service } from "./protocol.js" */
/** @import { Store } from "./resume.js" */
import type { Reports, Sdk } from "./binding.js";
import type { Events } from "./events.js";
import type { Platform } from "./platform.js";
import type { Identity, Service } from "./protocol.js";
import type { Store } from "./resume.js";
export type Options = {
    /**
     * address of the refresher service, such as "https://calls.example.com"
     */
    url: string;
    /**
     * who the user is, signed by your back end: the credential itself, or a function that fetches one. The function is called once for each session that is opened, and again if the service refused the credential. Leave it out if the service runs with --auth=none
     */
    credential?: string | (() => string | Promise<string>);
    /**
     * where the session is kept, so that it outlives a reload of the page: sessionStorage if you leave it out, nowhere if it is null
     */
    storage?: Store | null;
    /**
     * replaces parts of the browser: in tests, in Node.js and in React Native
     */
    platform?: Partial<Platform>;
};
/**
 * @typedef {object} Options
 * @property {string} url address of the refresher service, such as "https://calls.example.com"
 * @property {string | (() => string | Promise<string>)} [credential] who the user is, signed by your back end: the credential itself, or a function that fetches one. The function is called once for each session that is opened, and again if the service refused the credential. Leave it out if the service runs with --auth=none
 * @property {Store | null} [storage] where the session is kept, so that it outlives a reload of the page: sessionStorage if you leave it out, nowhere if it is null
 * @property {Partial<Platform>} [platform] replaces parts of the browser: in tests, in Node.js and in React Native
 */
/**
 * Keeps the tokens of one call fresh. It connects when it is constructed, and works until leave()
 * or close() is called, or the service ends the session.
 */
export declare class Refresher {
    #private;
    /** @param {Identity & Options} options */
    constructor({ url, credential, storage, platform: ownPlatform, rtc, rtm, chat, ttl, tokenFormat }: Identity & Options);
    /** The users, the channel and the tokens' options, as they were passed to the constructor. */
    get identity(): Identity;
    /**
     * The connection's state: "connecting" until the service has answered for the first time, then "live"; "away"
     * while the connection is lost; "ended" after the session's end.
     */
    get state(): import("./events.js").State;
    /** The session's id, by which operators find the session in logs; null until the service has answered. It is not secret. */
    get session(): string | null;
    /** When the newest tokens expire, in Unix seconds by the service's clock; 0 before the first tokens. */
    get expiresAt(): number;
    /** Returns the time by the service's clock, in Unix milliseconds. */
    now(): number;
    /**
     * Resolves with a token to join the call with: the newest token, or the first that arrives. Never resolves
     * with an expired token. Rejects with an EndedError if the session has ended.
     * @param {Service} service
     * @returns {Promise<string>}
     */
    token(service: Service): Promise<string>;
    /**
     * Calls a listener at each event of that name.
     * @template {keyof Events} E
     * @param {E} event
     * @param {(detail: Events[E]) => void} listener
     * @returns {() => void} removes the listener
     */
    on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
    /**
     * Calls the listeners of an event. The library itself emits its events by this method.
     * @template {keyof Events} E
     * @param {E} event
     * @param {Events[E]} detail
     */
    emit<E extends keyof Events>(event: E, detail: Events[E]): void;
    /**
     * Renews the tokens of an SDK from now on. For Agora's own SDKs call bindRtc, bindRtm, bindStreamChannel,
     * bindChat or bindEngine instead, which listen to the SDK's events.
     * @param {Service} service
     * @param {Sdk} sdk
     * @returns {Reports & {unbind: () => void}} `unbind` ends the binding. The other functions are those that `sdk.listen` gets, for an app that calls them itself
     */
    bind(service: Service, sdk: Sdk): Reports & {
        unbind: () => void;
    };
    /** Requests new tokens now: on the connection, or over HTTP if there is no connection. */
    renew(): void;
    /**
     * Checks the connection and all deadlines now. Call it when the device woke up or changed its network, if the
     * page gets no event for that.
     */
    wake(): void;
    /** Ends the session, because the call is over. */
    leave(): void;
    /** Stops, but keeps the session in the storage, so that this page can resume it after a reload. */
    close(): void;
}
