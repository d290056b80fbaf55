import type { State } from "./events.js";
export type Transitions<S extends string, E extends string> = Readonly<Record<S, Readonly<Partial<Record<E, S>>>>>;
export type SessionEvent = "joined" | "lost" | "end";
/** @import { State } from "./events.js" */
/**
 * For each state, the events that change it, each with its next state. Other events leave the state unchanged.
 * @template {string} S
 * @template {string} E
 * @typedef {Readonly<Record<S, Readonly<Partial<Record<E, S>>>>>} Transitions
 */
/** @typedef {"joined" | "lost" | "end"} SessionEvent */
/**
 * | state      | the session's connection                                 |
 * |------------|----------------------------------------------------------|
 * | connecting | has never been live                                      |
 * | live       | is live: the service has answered join or resume         |
 * | away       | is lost; attempts to connect again go on                 |
 * | ended      | is closed for good: the session has ended, or was closed |
 *
 * The events: `joined` (the service has answered), `lost` (the connection, or an
 * attempt to connect, has failed), `end` (the session has ended, or was closed).
 * @type {Transitions<State, SessionEvent>}
 */
export declare const sessionTransitions: Transitions<State, SessionEvent>;
export type BindingState = "idle" | "joined" | "returned" | "left" | "expired" | "rejoining" | "unbound";
export type BindingEvent = "tokenTaken" | "joined" | "inCall" | "left" | "failed" | "expired" | "rejoin" | "rejoined" | "rejoinFailed" | "unbind";
/** @typedef {"idle" | "joined" | "returned" | "left" | "expired" | "rejoining" | "unbound"} BindingState */
/** @typedef {"tokenTaken" | "joined" | "inCall" | "left" | "failed" | "expired" | "rejoin" | "rejoined" | "rejoinFailed" | "unbind"} BindingEvent */
/**
 * | state     | the SDK                                                      | the next token      |
 * |-----------|--------------------------------------------------------------|---------------------|
 * | idle      | has not joined, as far as is known                           | waits for `token()` |
 * | joined    | is in the call, as far as is known                           | renews              |
 * | returned  | joined again by itself, and has got no token since           | always renews       |
 * | left      | left for another reason than its token: the app must join it | is not delivered    |
 * | expired   | left because its token expired                               | rejoins             |
 * | rejoining | is being rejoined by the app                                 | is refused          |
 * | unbound   | is no longer bound, or the session has ended                 | is not delivered    |
 *
 * These events come from outside, at any time: `tokenTaken` (the app took a token
 * of the service, to join with it), `joined`, `left`, `failed` (it left without the
 * user's doing), `expired`, `unbind`. These come from a delivery: `inCall` (the SDK
 * says that it is in the call), `rejoin` (a call of the app's rejoin begins), and
 * `rejoined` or `rejoinFailed` (that call has settled). Nothing can cancel a call of
 * rejoin, so it may settle long after the SDK has left the call or was unbound.
 * @type {Transitions<BindingState, BindingEvent>}
 */
export declare const bindingTransitions: Transitions<BindingState, BindingEvent>;
/**
 * @template {string} S
 * @template {string} E
 * @param {Transitions<S, E>} transitions
 * @param {S} state
 * @param {E} event
 * @returns {S}
 */
export declare function transition<S extends string, E extends string>(transitions: Transitions<S, E>, state: S, event: E): S;
