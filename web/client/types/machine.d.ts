export type Transitions<S extends string, E extends string> = Readonly<Record<S, Readonly<Partial<Record<E, S>>>>>;
/**
 * For each state, the events that change it, and the state that each of them leads
 * to. An event that is not listed leaves the state as it is.
 * @template {string} S
 * @template {string} E
 * @typedef {Readonly<Record<S, Readonly<Partial<Record<E, S>>>>>} Transitions
 */
/**
 * One state at a time, which only events change.
 * @template {string} S
 * @template {string} E
 */
export declare class StateMachine<S extends string, E extends string> {
    #private;
    /**
     * @param {Transitions<S, E>} transitions
     * @param {S} initial
     */
    constructor(transitions: Transitions<S, E>, initial: S);
    get state(): S;
    /**
     * @param {E} event
     * @returns {boolean} whether it changed the state
     */
    dispatch(event: E): boolean;
}
