// What stands between a service's tokens and one SDK that uses them.

/** @import { Alarms } from "./time.js" */

import { failure } from "./time.js";

/**
 * One of Agora's SDKs, as a Refresher uses it.
 * @typedef {object} Sdk
 * @property {(token: string) => unknown} renew gives the SDK a token while it is in the call. It refuses the token by a promise that rejects, or by a negative number, which Agora's native SDKs return
 * @property {(token: string) => unknown} [rejoin] joins the call again, after the SDK left it because its token expired. It refuses in the same ways
 * @property {() => boolean} [isJoined] whether the SDK is in the call now. Leave it out if the SDK can't tell
 * @property {(reports: Reports) => () => void} [listen] subscribes to the SDK's events, and returns what unsubscribes. It is called once, by bind(). If it throws, nothing is bound
 */

/**
 * What the SDK's events, or an app that binds by hand, report to the Refresher.
 * @typedef {object} Reports
 * @property {() => void} willExpire the SDK warned that its token will soon expire
 * @property {() => void} expired the SDK left the call because its token expired
 * @property {(failed?: boolean) => void} left the SDK left the call for another reason: the user hung up, or was removed. It gets no tokens and is not joined again until it reports joined. `true` means that the user did not hang up; after `expired`, such a report is of a rejoin that failed, and the next bundle tries again
 * @property {() => void} joined the SDK is in the call, or back in it
 */

/** Longer than an SDK takes, shorter than the service waits for an answer to two pushes. */
const patience = 8_000;

/** One SDK that takes the tokens of one service. */
export class Binding {
  #sdk;
  #alarms;
  #joining = false; // again, perhaps for longer than our patience
  /** Whether the SDK still is to have tokens. */
  wanted;
  /** The SDK has said that its token took it out of the call, and did not come back yet. */
  out = false;
  /** How often in a row it has refused. */
  refusals = 0;
  /** It is out for another reason, and it is the app's to come back. */
  parked = false;
  /** The app has joined again, and no token was handed over since. @type {true | undefined} */
  #returned;

  /**
   * @param {Sdk} sdk
   * @param {Alarms} alarms
   * @param {(binding: Binding) => boolean} wanted
   */
  constructor(sdk, alarms, wanted) {
    this.#sdk = sdk;
    this.#alarms = alarms;
    this.wanted = () => !this.parked && wanted(this);
  }

  /** Whether the app's rejoin is under way. */
  get joining() {
    return this.#joining;
  }

  /** The app has joined again after the SDK had left. */
  returned() {
    this.parked = false;
    this.#returned = true;
  }

  /** The SDK has left, since its token ran out. */
  expired() {
    this.out = true;
    this.parked = false;
    this.#returned = undefined;
  }

  /**
   * The SDK has left for another reason than its token.
   * @param {boolean} [failed] the user did not hang up. An SDK may say so of a rejoin after that was refused
   */
  left(failed) {
    if (failed === true && this.out) return;
    this.#returned = undefined;
    // Logging in again begins with logging out; but who hangs up while an RTC client joins means it.
    this.parked = !this.#joining || !!this.#sdk.isJoined;
  }

  /**
   * Hands over a token; rejects with what the SDK says, if it refuses.
   * @param {string} token
   * @param {boolean} rejoin the tokens that the SDK was known to have ran out
   * @param {boolean} inUse somebody has taken a token of this service to join with
   * @returns {Promise<boolean>} whether the SDK took it; else it had no use for it
   */
  async apply(token, rejoin, inUse) {
    const { renew, rejoin: join, isJoined } = this.#sdk;
    const inCall = isJoined?.() ?? this.#returned;
    this.#returned = undefined;
    if (inCall) this.out = this.parked = false; // it came back by itself
    if (!this.wanted() || !(inUse || inCall || this.out)) return false; // nobody has joined yet: the token waits for whoever will
    const unsure = !join && inCall === undefined; // it may be in the call, and there is no other way to find out
    if (!this.out && (!rejoin || inCall || unsure)) {
      try {
        await this.#within(Promise.resolve(renew(token)).then(accepted));
        return true;
      } catch (error) {
        if (unsure || (!rejoin && !this.out)) throw error;
      }
    }
    if (!this.wanted()) return false; // the call was left meanwhile
    if (!join) throw failure("NO_REJOIN", "it has left, and was bound without a rejoin");
    if (this.#joining) throw failure("TIMEOUT", "it still joins");
    this.out = this.#joining = true;
    await this.#within(Promise.resolve(token).then(join).then(accepted).then(() => {
      this.out = false;
    }).finally(() => {
      this.#joining = false;
    }));
    return true;
  }

  /** @param {unknown} answer */
  #within(answer) {
    return this.#alarms.within(patience, answer, "SDK");
  }
}

/**
 * Throws if the SDK's answer is a refusal: Agora's native SDKs return a negative number.
 * @param {unknown} answer
 */
function accepted(answer) {
  if (typeof answer === "number" && answer < 0) throw failure(String(answer), `the SDK returned ${answer}`);
}

/**
 * What an SDK said, in the form of a nack: no longer than the service keeps, and
 * without the tokens that some SDKs quote. Objects without a text of their own are written as JSON.
 * @param {any} error
 */
export function refusal(error) {
  const text = (/** @type {() => any} */ get, /** @type {string} */ none, /** @type {number} */ most) => {
    try {
      const value = get();
      const words = typeof value === "object" && !value?.toString ? "[object]" : String(value);
      return (words.startsWith("[object") ? JSON.stringify(value) : words).replace(/00[67][\w+/=%-]{12,}/g, "(token)").slice(0, most) || none;
    } catch {
      return none; // what can't be made a text
    }
  };
  return {
    code: text(() => error?.code ?? error?.errorCode ?? error?.type ?? error?.name ?? "", "UNKNOWN", 64),
    message: text(() => error?.message ?? error?.reason ?? error, "", 256),
  };
}
