/** @import { Reports, Sdk } from "./binding.js" */
/** @import { Events } from "./events.js" */
/** @import { Platform } from "./platform.js" */
/** @import { Identity, Service } from "./protocol.js" */
/** @import { Store } from "./resume.js" */

import { parseUrl } from "./diagnose.js";
import { platform as usePlatform } from "./platform.js";
import { Session } from "./session.js";

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
export class Refresher {
  /** @type {Identity} */
  #identity;
  #session;

  /** @param {Identity & Options} options */
  constructor({ url, credential, storage, platform: ownPlatform, rtc, rtm, chat, ttl, tokenFormat }) {
    const address = parseUrl(url);
    if (!(rtc || rtm || chat)) throw new TypeError("rtc, rtm or chat must be given");
    const platform = usePlatform(ownPlatform);
    if (!platform.WebSocket) throw new TypeError("pass a platform.WebSocket");
    this.#identity = { rtc, rtm, chat, ttl, tokenFormat };
    this.#session = new Session(address, this.#identity, { credential, storage }, platform);
  }

  /** The users, the channel and the tokens' options, as they were passed to the constructor. */
  get identity() {
    return this.#identity;
  }

  /**
   * The connection's state: "connecting" until the service has answered for the first time, then "live"; "away"
   * while the connection is lost; "ended" after the session's end.
   */
  get state() {
    return this.#session.state;
  }

  /** The session's id, by which operators find the session in logs; null until the service has answered. It is not secret. */
  get session() {
    return this.#session.resume.token?.session ?? null;
  }

  /** When the newest tokens expire, in Unix seconds by the service's clock; 0 before the first tokens. */
  get expiresAt() {
    return this.#session.deliveries.expiresAt;
  }

  /** Returns the time by the service's clock, in Unix milliseconds. */
  now() {
    return this.#session.clock.serverNow();
  }

  /**
   * Resolves with a token to join the call with: the newest token, or the first that arrives. Never resolves
   * with an expired token. Rejects with an EndedError if the session has ended.
   * @param {Service} service
   * @returns {Promise<string>}
   */
  async token(service) {
    this.#requireService(service);
    return this.#session.token(service);
  }

  /**
   * Calls a listener at each event of that name.
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   * @returns {() => void} removes the listener
   */
  on(event, listener) {
    return this.#session.events.on(event, listener);
  }

  /**
   * Calls the listeners of an event. The library itself emits its events by this method.
   * @template {keyof Events} E
   * @param {E} event
   * @param {Events[E]} detail
   */
  emit(event, detail) {
    this.#session.events.emit(event, detail);
  }

  /**
   * Renews the tokens of an SDK from now on. For Agora's own SDKs call bindRtc, bindRtm, bindStreamChannel,
   * bindChat or bindEngine instead, which listen to the SDK's events.
   * @param {Service} service
   * @param {Sdk} sdk
   * @returns {Reports & {unbind: () => void}} `unbind` ends the binding. The other functions are those that `sdk.listen` gets, for an app that calls them itself
   */
  bind(service, sdk) {
    this.#requireService(service);
    if (!sdk?.renew) throw new TypeError("bind needs an object with renew(token)");
    const bound = this.#session.bindings.bind(service, sdk);
    if (this.state === "ended") bound.unbind();
    return bound;
  }

  /** Requests new tokens now: on the connection, or over HTTP if there is no connection. */
  renew() {
    if (this.state !== "ended") this.#session.renewals.request();
  }

  /**
   * Checks the connection and all deadlines now. Call it when the device woke up or changed its network, if the
   * page gets no event for that.
   */
  wake() {
    this.#session.wake();
  }

  /** Ends the session, because the call is over. */
  leave() {
    this.#session.leave();
  }

  /** Stops, but keeps the session in the storage, so that this page can resume it after a reload. */
  close() {
    this.#session.close();
  }

  /** @param {Service} service */
  #requireService(service) {
    if (!this.#identity[service]) throw new TypeError(`this Refresher has no ${service}: pass it to the constructor`);
  }
}
