/**
 * Calls the listeners of named events. If a listener throws, the other listeners are still called,
 * and the page reports the error as uncaught.
 * @template {object} Events
 */
export declare class Emitter<Events extends object> {
    #private;
    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {(detail: Events[E]) => void} listener
     * @returns {() => void} removes the listener
     */
    on<E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): () => void;
    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {Events[E]} detail
     */
    emit<E extends keyof Events>(event: E, detail: Events[E]): void;
}
/**
 * Calls a function of the app. If it throws, the page reports the error as uncaught.
 * @param {((detail?: any) => void) | void} run
 * @param {unknown} [detail]
 */
export declare function callSafely(run: ((detail?: any) => void) | void, detail?: unknown): void;
