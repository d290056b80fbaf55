// A state machine whose transitions are data: the table in the source is the one
// that runs, and a test can walk it.

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
export class StateMachine {
  #transitions;
  #state;

  /**
   * @param {Transitions<S, E>} transitions
   * @param {S} initial
   */
  constructor(transitions, initial) {
    this.#transitions = transitions;
    this.#state = initial;
  }

  get state() {
    return this.#state;
  }

  /**
   * @param {E} event
   * @returns {boolean} whether it changed the state
   */
  dispatch(event) {
    const previous = this.#state;
    this.#state = this.#transitions[previous][event] ?? previous;
    return this.#state !== previous;
  }
}
