/**
 * Calls the listeners of named events. If a listener throws, the other listeners are still called,
 * and the page reports the error as uncaught.
 * @template {object} Events
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {(detail: Events[E]) => void} listener
   * @returns {() => void} removes the listener
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {Events[E]} detail
   */
  emit(event, detail) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      callSafely(listener, detail);
    }
  }
}

/**
 * Calls a function of the app. If it throws, the page reports the error as uncaught.
 * @param {((detail?: any) => void) | void} run
 * @param {unknown} [detail]
 */
export function callSafely(run, detail) {
  try {
    run?.(detail);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
