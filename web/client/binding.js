// What stands between a service's tokens and one SDK that uses them.

/** @import { Alarms } from "./time.js" */

import { failure } from "./time.js";

/**
 * How tokens reach an SDK.
 * @typedef {object} Sdk
 * @property {(token: string) => unknown} renew hands a token to a call that is on. A promise that rejects has refused it, and so has a negative number, which Agora's native SDKs return
 * @property {(token: string) => unknown} [rejoin] joins the call again, after its tokens ran out; refuses in the same ways
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
 * The part of an RTMClient that is used, of agora-rtm 2 or agora-react-native-rtm 2.
 * @typedef {object} RtmClient
 * @property {(token: string, options?: {channelName: string}) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} addEventListener
 * @property {(event: any, listener: any) => void} removeEventListener
 */

/**
 * The part of agora-chat's connection that is used.
 * @typedef {object} ChatClient
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(id: string, handler: object) => void} addEventHandler
 * @property {(id: string) => void} removeEventHandler
 */

/**
 * What an SDK says, or who bound it by hand.
 * @typedef {object} Reports
 * @property {() => void} warned its token will soon run out
 * @property {() => void} expired it ran out, and the SDK has left
 * @property {(failed?: boolean) => void} left the SDK has left for another reason: the user hung up, or it was thrown out. It gets no tokens, and is not joined again. `true` says that the user did not hang up: while an SDK is out because its token ran out, it is a rejoin that failed, and the next bundle tries again
 * @property {() => void} back the app has joined again after that
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
    this.parked = !this.#joining || !!this.#sdk.joined;
  }

  /**
   * Hands over a token; rejects with what the SDK says, if it refuses.
   * @param {string} token
   * @param {boolean} rejoin the tokens that the SDK was known to have ran out
   * @param {boolean} inUse somebody has taken a token of this service to join with
   * @returns {Promise<boolean>} whether the SDK took it; else it had no use for it
   */
  async apply(token, rejoin, inUse) {
    const { renew, rejoin: join, joined } = this.#sdk;
    const inCall = joined?.() ?? this.#returned;
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

/**
 * @param {RtcClient} client
 * @param {Sdk["rejoin"]} rejoin
 * @returns {Sdk}
 */
export function rtcSdk(client, rejoin) {
  if (!client?.on) throw new TypeError("not a client of agora-rtc-sdk-ng: use bind()");
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
export function listenRtc(client, { warned, expired, left, back }) {
  /**
   * @param {string} now
   * @param {string} before
   * @param {string} [reason] of the SDK's ConnectionDisconnectedReason
   */
  const onState = (now, before, reason) => {
    if (now === "CONNECTED") back();
    // A join that failed has not been in the call.
    if (now === "DISCONNECTED" && before !== "CONNECTING" && reason !== "TOKEN_EXPIRE") left();
  };
  client.on("connection-state-change", onState);
  client.on("token-privilege-will-expire", warned);
  client.on("token-privilege-did-expire", expired);
  return () => {
    client.off("connection-state-change", onState);
    client.off("token-privilege-will-expire", warned);
    client.off("token-privilege-did-expire", expired);
  };
}

/**
 * @param {RtmClient} rtm
 * @param {string} channelName of a stream channel; empty for the login
 * @param {Sdk["rejoin"]} rejoin
 * @returns {Sdk}
 */
export function rtmSdk(rtm, channelName, rejoin) {
  if (!rtm?.addEventListener) throw new TypeError("not a client of agora-rtm 2 or agora-react-native-rtm 2: use bind()");
  return { renew: (token) => (channelName ? rtm.renewToken(token, { channelName }) : rtm.renewToken(token)), rejoin };
}

/**
 * One client has a login and any number of stream channels, and reports on all of
 * them by the same events. Only those of the login, or of the one channel, count.
 * @param {RtmClient} rtm
 * @param {string} channelName of a stream channel; empty for the login
 * @param {Reports} reports
 */
export function listenRtm(rtm, channelName, { warned, expired, left, back }) {
  let linked = false;
  /** @param {string | null} [channel] of a stream channel; empty or absent for the login */
  const onWarning = (channel) => {
    if ((channel || "") === channelName) warned();
  };
  /** agora-rtm has words from 2.2 on (2.2.0 without a reasonCode), agora-react-native-rtm 2 has numbers. @param {any} link */
  const onLink = ({ serviceType, affectedChannels, currentState, reasonCode, reason }) => {
    linked = true;
    const own = channelName
      ? ["STREAM", 2].includes(serviceType) && affectedChannels?.includes(channelName)
      : ["MESSAGE", 1].includes(serviceType);
    if (!own) return;
    const failed = ["FAILED", 5].includes(currentState);
    if (["CONNECTED", 2].includes(currentState)) back();
    if (failed || ["IDLE", 0].includes(currentState)) (/expired|^17$/i.test(reasonCode ?? reason) ? expired : left)(failed);
  };
  /** agora-rtm 2.1. Later versions say it in linkState too, which is clearer. @param {any} status */
  const onStatus = ({ channelName: channel, state, reason }) => {
    if (linked || channel || channelName) return;
    if (state === "CONNECTED") back();
    // PRESENCE_NOT_READY is what it says when its token ran out while it was reconnecting.
    if (["DISCONNECTED", "FAILED"].includes(state)) (["TOKEN_EXPIRED", "PRESENCE_NOT_READY"].includes(reason) ? expired : left)(reason !== "LOGOUT");
  };
  rtm.addEventListener("tokenPrivilegeWillExpire", onWarning);
  rtm.addEventListener("linkState", onLink);
  rtm.addEventListener("status", onStatus);
  return () => {
    rtm.removeEventListener("tokenPrivilegeWillExpire", onWarning);
    rtm.removeEventListener("linkState", onLink);
    rtm.removeEventListener("status", onStatus);
  };
}

/**
 * @param {ChatClient} chat
 * @param {Sdk["rejoin"]} rejoin
 * @returns {Sdk}
 */
export function chatSdk(chat, rejoin) {
  if (!chat?.addEventHandler) throw new TypeError("not a connection of agora-chat: use bind()");
  return { renew: (token) => chat.renewToken(token), rejoin };
}

let chats = 0;

/**
 * @param {ChatClient} chat
 * @param {Reports} reports
 */
export function listenChat(chat, { warned, expired, left, back }) {
  const id = `refresher ${++chats}`;
  let ranOut = false;
  const onTokenExpired = () => {
    ranOut = true; // it closes after that, and says so
    expired();
  };
  // It takes no token while it connects again, and has the newest handed over after that.
  const onGone = () => {
    if (!ranOut) left();
  };
  chat.addEventHandler(id, {
    onTokenWillExpire: warned,
    onTokenExpired,
    onError: (/** @type {{type: number} | undefined} */ error) => {
      if (error?.type === tokenExpired) onTokenExpired();
    },
    onReconnecting: onGone,
    onDisconnected: onGone,
    onConnected: () => {
      ranOut = false;
      back();
    },
  });
  return () => chat.removeEventHandler(id);
}

/** agora-chat's statusCode WEBIM_TOKEN_EXPIRED: the service refused to connect it again. */
const tokenExpired = 56;
