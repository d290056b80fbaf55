// Fakes of Agora's SDK clients, as far as tokens are concerned.

import { second } from "./time.js";
import { readToken } from "./tokens.js";

class FakeClient {
  /** The tokens that the client accepted, each with the method that passed it. @type {{by: "join" | "renew", token: string, expiresAt: number}[]} */
  taken = [];
  /** How long the client takes to answer, in milliseconds. */
  latency = 0;
  hangs = false;
  /** The error with which the client refuses tokens; null if it accepts them. */
  refusal = null;
  busy = 0;
  mostBusy = 0;
  token = null;
  device;
  uid;
  #listeners = new Map();

  constructor(device, uid = 1001) {
    this.device = device;
    this.uid = uid;
  }

  get listeners() {
    return [...this.#listeners.values()].flatMap((listeners) => [...listeners]).length;
  }

  listen(event, listener) {
    this.#listeners.set(event, (this.#listeners.get(event) ?? new Set()).add(listener));
  }

  unlisten(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  says(event, ...details) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) this.device.run(() => listener(...details));
  }

  get expiresAt() {
    return this.token ? readToken(this.token).expiresAt : 0;
  }

  /**
   * Accepts a token, or refuses it as the real SDK does. Emits the SDK's events when the token expires soon,
   * and when it has expired.
   */
  async consider(token, by, error) {
    this.mostBusy = Math.max(this.mostBusy, ++this.busy);
    try {
      if (this.hangs) await new Promise(() => {});
      if (this.latency) await new Promise((resolve) => void this.device.at(this.device.time + this.latency, resolve));
      if (this.refusal) throw this.refusal;
      const { uid, expiresAt } = readToken(token);
      if (uid !== this.uid) throw error("UNEXPECTED_RESPONSE", "110: the token is another user's");
      if (expiresAt * second <= this.device.time) throw error("UNEXPECTED_RESPONSE", "109: the token has expired");
      if (by === "renew" && !this.inCall()) throw error("INVALID_OPERATION", "renewToken should not be called before user join");
      this.token = token;
      this.taken.push({ by, token, expiresAt });
      this.device.at(expiresAt * second - 30 * second, () => this.token === token && this.inCall() && this.warns());
      this.device.at(expiresAt * second, () => this.token === token && this.inCall() && this.expires());
    } finally {
      this.busy--;
    }
  }
}

const error = (code, message) => Object.assign(new Error(message), { code });

/** agora-rtc-sdk-ng's client. */
export class FakeRtcClient extends FakeClient {
  connectionState = "DISCONNECTED";
  on = this.listen;
  off = this.unlisten;
  #leaving = false;
  #joins = 0;

  inCall() {
    return this.connectionState === "CONNECTED" || this.connectionState === "RECONNECTING";
  }

  async join(token) {
    if (this.#leaving) throw error("OPERATION_ABORTED", "it is still leaving: what was begun now is undone");
    if (this.connectionState !== "DISCONNECTED") throw error("INVALID_OPERATION", "Client already in connecting/connected state");
    const mine = ++this.#joins;
    this.#becomes("CONNECTING");
    try {
      await this.consider(token, "join", error);
    } catch (reason) {
      if (mine === this.#joins) this.#becomes("DISCONNECTED", "LEAVE"); // the SDK reports LEAVE for a failed join too
      throw reason;
    }
    if (mine !== this.#joins) throw error("OPERATION_ABORTED", "it was left meanwhile");
    this.#becomes("CONNECTED");
  }

  async renewToken(token) {
    if (!this.inCall()) throw error("INVALID_OPERATION", "renewToken should not be called before user join");
    await this.consider(token, "renew", error);
  }

  /** Leaves the call. LEAVE means that the user hung up; any other reason, that the SDK was removed or gave up. */
  leave(reason = "LEAVE") {
    if (this.connectionState === "DISCONNECTED") return;
    this.#joins++;
    this.#becomes("DISCONNECTING");
    this.#becomes("DISCONNECTED", reason);
  }

  #becomes(state, reason) {
    const before = this.connectionState;
    this.connectionState = state;
    this.says("connection-state-change", state, before, reason);
  }

  warns() {
    this.says("token-privilege-will-expire");
  }

  /** Lets the client's token expire. Like the real SDK, the fake emits the event before it has left. */
  expires() {
    this.#leaving = true;
    this.leave("TOKEN_EXPIRE");
    this.says("token-privilege-did-expire");
    this.#leaving = false;
  }
}

/**
 * The client of agora-rtm 2.2 and later, with events as in its types (RTMEvents.LinkStateEvent). It has a
 * login, and stream channels.
 */
export class FakeRtmClient extends FakeClient {
  state = "IDLE";
  addEventListener = this.listen;
  removeEventListener = this.unlisten;
  /** @type {{channelName: string, token: string}[]} */
  renewedChannels = [];

  static error(code, reason) {
    return { error: true, reason, operation: "renewToken", errorCode: code === "INVALID_OPERATION" ? -10002 : -10005 };
  }

  inCall() {
    return this.state === "CONNECTED";
  }

  async login(token) {
    await this.consider(token, "join", FakeRtmClient.error);
    this.becomes("CONNECTED", "LOGIN_SUCCESS");
  }

  async logout() {
    this.becomes("IDLE", "LOGOUT");
  }

  becomes(currentState, reasonCode) {
    const previousState = this.state;
    this.state = currentState;
    this.linkState({ currentState, previousState, serviceType: "MESSAGE", reasonCode });
  }

  /** Emits the events about a stream channel whose state changes. */
  streams(channelName, currentState, reasonCode) {
    this.linkState({ currentState, previousState: "CONNECTED", serviceType: "STREAM", reasonCode, affectedChannels: [channelName] });
  }

  linkState(link) {
    this.says("linkState", {
      operation: "SERVER_REJECT", reason: "for people", affectedChannels: [], unrestoredChannels: [], isResumed: false, timestamp: this.device.time, ...link,
    });
  }

  async renewToken(token, options) {
    if (options?.channelName) this.renewedChannels.push({ channelName: options.channelName, token });
    else await this.consider(token, "renew", FakeRtmClient.error);
  }

  /** @param {string} [channel] of a stream channel's token, which is not a session's */
  warns(channel = "") {
    this.says("tokenPrivilegeWillExpire", channel);
  }

  expires(reasonCode = "TOKEN_EXPIRED") {
    this.becomes("FAILED", reasonCode);
  }
}

/** The client of agora-rtm 2.1: its types have no linkState, and its event `status` lacks the previous state. */
export class FakeOldRtmClient extends FakeRtmClient {
  becomes(state, reason) {
    this.state = state === "IDLE" ? "DISCONNECTED" : state;
    this.says("status", { state: this.state, reason });
  }
}

/**
 * The client of agora-react-native-rtm 2.2: its linkState has numbers (RtmLinkState, RtmServiceType,
 * RtmLinkStateChangeReason).
 */
export class FakeNativeRtmClient extends FakeRtmClient {
  static #states = { IDLE: 0, CONNECTED: 2, FAILED: 5 };
  static #reasons = { LOGIN_SUCCESS: 2, LOGOUT: 7, LEAVE: 15, INVALID_TOKEN: 16, TOKEN_EXPIRED: 17, SAME_UID_LOGIN: 27 };

  linkState({ currentState, previousState, serviceType, reasonCode, ...link }) {
    super.linkState({
      ...link,
      currentState: FakeNativeRtmClient.#states[currentState],
      previousState: FakeNativeRtmClient.#states[previousState],
      serviceType: serviceType === "MESSAGE" ? 1 : 2,
      reasonCode: FakeNativeRtmClient.#reasons[reasonCode],
    });
  }
}
