// An SDK that is bound to the tokens of one service. A binding has the SDK's state, and delivers
// tokens as that state requires.

/** @import { Alarms } from "./time.js" */
/** @import { BindingEvent, BindingState } from "./states.js" */

import { bindingTransitions, transition } from "./states.js";
import { failure } from "./time.js";

/**
 * The functions that connect an SDK to the library.
 * @typedef {object} Sdk
 * @property {(token: string) => unknown} renew gives the SDK a new token while it is in the call, as `renewToken()` does. To refuse the token, it returns a promise that rejects, or a negative number, as Agora's native SDKs do
 * @property {(token: string) => unknown} [rejoin] joins the call again with a new token, after the SDK left because its token expired. It refuses a token as renew does
 * @property {() => boolean} [isJoined] tells whether the SDK is in the call now. Leave it out for an SDK that cannot tell
 * @property {(reports: Reports) => (() => void)} [listen] subscribes to the SDK's events and calls the matching report for each; returns a function that unsubscribes
 */

/**
 * The functions by which an SDK reports events that concern its token or its call.
 * @typedef {object} Reports
 * @property {() => void} willExpire the SDK's token expires soon
 * @property {() => void} expired the SDK's token expired, and the SDK has left the call
 * @property {(failed?: boolean, reason?: string) => void} left the SDK has left the call for another reason: the user hung up, or the SDK was removed. It gets no tokens until it reports `joined`. Pass `true` if the user did not cause it: an SDK that waits for a rejoin then counts this as a failed attempt, and the next bundle is tried. The reason, if it is not empty, is shown in the console
 * @property {() => void} joined the SDK is in the call: the app has joined it, perhaps again
 */

/**
 * How long an SDK may take to answer, in milliseconds. Must be less than two ack timeouts (10 s), after which
 * the service closes the connection.
 */
const sdkTimeout = 8_000;

export class Binding {
  #sdk;
  #alarms;
  /** @type {BindingState} */
  #state = "idle";
  /**
   * Whether a call of the app's rejoin is still running. The call may outlast sdkTimeout and the state
   * `rejoining`.
   */
  #rejoinPending = false;
  refusals = 0;

  /**
   * @param {Sdk} sdk
   * @param {Alarms} alarms
   */
  constructor(sdk, alarms) {
    this.#sdk = sdk;
    this.#alarms = alarms;
  }

  get state() {
    return this.#state;
  }

  /** Whether tokens should be delivered to the SDK: it has not left the call, and is still bound. */
  get wantsTokens() {
    return this.state !== "left" && this.state !== "unbound";
  }

  get needsRejoin() {
    return this.state === "expired" && !this.#rejoinPending;
  }

  /**
   * Changes the state according to the table bindingTransitions.
   * @param {BindingEvent} event
   * @returns {boolean} whether it changed
   */
  dispatch(event) {
    const previous = this.#state;
    this.#state = transition(bindingTransitions, previous, event);
    return this.#state !== previous;
  }

  /**
   * Records that the SDK has left the call for another reason than an expired token.
   * @param {boolean} [failed] whether something other than the user caused it
   * @returns {boolean} whether it was in the call, as far as the library knew
   */
  left(failed) {
    // A rejoin of RTM begins with a logout. That logout is not the user's, so it is ignored. SDKs with isJoined
    // do not log out to rejoin.
    if (this.state === "rejoining" && !this.#sdk.isJoined) return false;
    return this.dispatch(failed === true ? "failed" : "left");
  }

  /**
   * Delivers a token to the SDK. Calls renew; or rejoin, if the SDK left the call because its token
   * expired. Rejects with the SDK's own error if the SDK refuses the token.
   * @param {string} token
   * @param {boolean} previousExpired whether the tokens before this one have expired
   * @returns {Promise<boolean>} whether the SDK took it; false if it needs none now
   */
  async deliver(token, previousExpired) {
    const sdk = this.#sdk;
    const returned = this.state === "returned";
    const inCall = sdk.isJoined ? sdk.isJoined() : returned || undefined; // undefined if the SDK cannot tell
    if (inCall || returned) this.dispatch("inCall");
    if (!this.wantsTokens || (this.state === "idle" && !inCall)) return false;
    // Without isJoined and rejoin, only a call of renew can show whether the SDK is in the call.
    const mustTry = !sdk.rejoin && inCall === undefined;
    if (!this.#isOut && (!previousExpired || inCall || mustTry)) {
      try {
        await this.#answer(sdk.renew(token));
        return true;
      } catch (error) {
        const expired = previousExpired || this.#isOut; // the SDK's token may have expired while renew ran
        if (mustTry || !expired || this.state === "returned") throw error;
        // The SDK has left the call, so renew had to fail. If the rejoin below fails, it reports its own error.
      }
    }
    if (!this.wantsTokens) return false; // the SDK left while renew ran
    if (!sdk.rejoin) throw failure("NO_REJOIN", "bound without rejoin");
    if (this.#rejoinPending || !this.dispatch("rejoin")) throw failure("TIMEOUT", "still rejoining");
    await this.#answer(this.#rejoin(token));
    return true;
  }

  get #isOut() {
    return this.state === "expired" || this.state === "rejoining";
  }

  /** @param {string} token */
  async #rejoin(token) {
    this.#rejoinPending = true;
    try {
      accept(await this.#sdk.rejoin?.(token));
      this.dispatch("rejoined");
    } catch (error) {
      this.dispatch("rejoinFailed");
      throw error;
    } finally {
      this.#rejoinPending = false;
    }
  }

  /**
   * Resolves when the SDK has accepted a token. Rejects if the SDK refuses it, or takes longer than
   * sdkTimeout.
   * @param {unknown} answer
   */
  #answer(answer) {
    return this.#alarms.within(sdkTimeout, Promise.resolve(answer).then(accept), "SDK");
  }
}

/**
 * Throws if an SDK's answer is a refusal: Agora's native SDKs refuse by a negative number.
 * @param {unknown} answer
 */
function accept(answer) {
  if (typeof answer === "number" && answer < 0) throw failure(String(answer), `the SDK returned ${answer}`);
}

/**
 * Replaces tokens and credentials in a text by "(token)".
 * @param {string} text
 */
export const withoutTokens = (text) => text.replace(/(?:eyJ|00[67])[\w+/=%.-]{12,}/g, "(token)");

/**
 * Describes an SDK's error for the service: within the lengths that the service accepts, and
 * without the tokens that some SDKs quote. An object without a message becomes JSON.
 * @param {any} error
 */
export function describeRefusal(error) {
  const text = (/** @type {() => any} */ read, /** @type {string} */ fallback, /** @type {number} */ limit) => {
    try {
      const value = read();
      const words = typeof value === "object" && !value?.toString ? "[object]" : String(value);
      return withoutTokens(words.startsWith("[object") ? JSON.stringify(value) : words).slice(0, limit) || fallback;
    } catch {
      return fallback;
    }
  };
  return {
    code: text(() => error?.code ?? error?.errorCode ?? error?.type ?? error?.name ?? "", "UNKNOWN", 64),
    message: text(() => error?.message ?? error?.reason ?? error, "", 256),
  };
}
