// What stands between a service's tokens and one SDK that uses them.

/** @import { Alarms } from "./time.js" */

/**
 * How tokens reach an SDK.
 * @typedef {object} Sdk
 * @property {(token: string) => unknown} renew hands a token to a call that is on; a promise that rejects has refused it
 * @property {(token: string) => unknown} [rejoin] joins the call again, after its tokens ran out
 * @property {() => boolean} [joined] whether the SDK is in the call now, where it can tell
 */

/**
 * The part of agora-rtc-sdk-ng's IAgoraRTCClient that is used.
 * @typedef {object} RtcClient
 * @property {string} connectionState
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} on
 * @property {(event: any, listener: any) => void} off
 */

/**
 * The part of agora-rtm's RTMClient that is used.
 * @typedef {object} RtmClient
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} addEventListener
 * @property {(event: any, listener: any) => void} removeEventListener
 */

/** @typedef {{warned: () => void, expired: () => void}} Reports the SDK has said that its token will soon run out; that it ran out, and the SDK has left */

/** Longer than an SDK takes, shorter than the service waits for an answer to two pushes. */
const patience = 8_000;

/** One SDK that takes the tokens of one service. */
export class Binding {
  #sdk;
  #alarms;
  /** Whether the SDK still is to have tokens. */
  wanted;
  /** The SDK has said that it is out of the call, and did not come back yet. */
  out = false;

  /**
   * @param {Sdk} sdk
   * @param {Alarms} alarms
   * @param {(binding: Binding) => boolean} wanted
   */
  constructor(sdk, alarms, wanted) {
    this.#sdk = sdk;
    this.#alarms = alarms;
    this.wanted = () => wanted(this);
  }

  /**
   * Hands over a token; rejects with what the SDK says, if it refuses.
   * @param {string} token
   * @param {boolean} rejoin the tokens that the SDK was known to have ran out
   * @param {boolean} inUse somebody has taken a token of this service to join with
   */
  async apply(token, rejoin, inUse) {
    const { renew, rejoin: join, joined } = this.#sdk;
    const inCall = joined?.();
    if (inCall) this.out = false; // it came back by itself, or after our patience
    if (!this.wanted() || !(inUse || inCall || this.out)) return; // nobody has joined yet: the token waits for whoever will
    const unsure = !join && inCall === undefined; // it may be in the call, and there is no other way to find out
    if (!this.out && (!rejoin || inCall || unsure)) {
      try {
        return await this.#within(renew(token));
      } catch (error) {
        if (unsure || (!rejoin && !this.out)) throw error;
      }
    }
    if (!this.wanted()) return; // the call was left meanwhile
    if (!join) throw new SdkError("NO_REJOIN", "the SDK has left the call, and was bound without a function to join it again");
    await this.#within(join(token));
    this.out = false;
  }

  /** @param {unknown} answer */
  #within(answer) {
    return this.#alarms.within(patience, answer, () => new SdkError("TIMEOUT", `the SDK did not answer for ${patience / 1000} s`));
  }
}

class SdkError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * What an SDK said, in the form of a nack: no longer than the service keeps, and
 * without the tokens that some SDKs quote.
 * @param {any} error
 */
export function refusal(error) {
  try {
    const text = (/** @type {unknown} */ value) => String(value).replace(/00[67][\w+/=%-]{12,}/g, "(token)");
    const code = text(error?.code ?? error?.errorCode ?? error?.name ?? "UNKNOWN");
    const message = text(error?.message ?? error?.reason ?? error);
    return { code: code.slice(0, 64), message: message.slice(0, 256) };
  } catch {
    return { code: "UNKNOWN", message: "" }; // what can't be made a text
  }
}

/**
 * @param {RtcClient} client
 * @param {Sdk["rejoin"]} rejoin
 * @returns {Sdk}
 */
export function rtcSdk(client, rejoin) {
  return {
    renew: (token) => client.renewToken(token),
    rejoin,
    joined: () => ["CONNECTED", "RECONNECTING"].includes(client.connectionState),
  };
}

/**
 * @param {RtcClient} client
 * @param {Reports} reports
 */
export function listenRtc(client, { warned, expired }) {
  client.on("token-privilege-will-expire", warned);
  client.on("token-privilege-did-expire", expired);
  return () => {
    client.off("token-privilege-will-expire", warned);
    client.off("token-privilege-did-expire", expired);
  };
}

/**
 * @param {RtmClient} rtm
 * @param {Sdk["rejoin"]} rejoin
 * @returns {Sdk}
 */
export function rtmSdk(rtm, rejoin) {
  return { renew: (token) => rtm.renewToken(token), rejoin };
}

/**
 * @param {RtmClient} rtm
 * @param {Reports} reports
 */
export function listenRtm(rtm, { warned, expired }) {
  /** @param {string} channelName of a stream channel, which has an RTC token; else empty */
  const onWarning = (channelName) => {
    if (!channelName) warned();
  };
  /** @param {{currentState: string, reasonCode: string}} link */
  const onLink = ({ currentState, reasonCode }) => {
    if (currentState === "FAILED" && reasonCode === "TOKEN_EXPIRED") expired();
  };
  rtm.addEventListener("tokenPrivilegeWillExpire", onWarning);
  rtm.addEventListener("linkState", onLink);
  return () => {
    rtm.removeEventListener("tokenPrivilegeWillExpire", onWarning);
    rtm.removeEventListener("linkState", onLink);
  };
}
