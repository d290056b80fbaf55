// The states and transitions of a session and of a binding, as tables.

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
export const sessionTransitions = {
  connecting: { joined: "live", end: "ended" },
  live: { lost: "away", end: "ended" },
  away: { joined: "live", end: "ended" },
  ended: {},
};

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
export const bindingTransitions = {
  idle: { tokenTaken: "joined", joined: "returned", left: "left", failed: "left", expired: "expired", rejoin: "rejoining", unbind: "unbound" },
  joined: { left: "left", failed: "left", expired: "expired", rejoin: "rejoining", unbind: "unbound" },
  returned: { inCall: "joined", left: "left", failed: "left", expired: "expired", unbind: "unbound" },
  left: { joined: "returned", inCall: "joined", expired: "expired", unbind: "unbound" },
  expired: { joined: "returned", inCall: "joined", left: "left", rejoin: "rejoining", rejoined: "joined", unbind: "unbound" },
  rejoining: { rejoined: "joined", rejoinFailed: "expired", inCall: "joined", left: "left", unbind: "unbound" },
  unbound: {},
};

/**
 * @template {string} S
 * @template {string} E
 * @param {Transitions<S, E>} transitions
 * @param {S} state
 * @param {E} event
 * @returns {S}
 */
export function transition(transitions, state, event) {
  return transitions[state][event] ?? state;
}
