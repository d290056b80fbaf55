// An engine of react-native-agora or agora-electron-sdk: the SDK's own object, and
// the events and answers of its native part.

import { load } from "./native-part.js";

/** Values of the SDKs' ConnectionStateType. */
export const states = { disconnected: 1, connected: 3, failed: 5 };
/** Values of their ConnectionChangedReasonType. */
export const reasons = { joined: 1, banned: 3, left: 5, invalidToken: 8, tokenExpired: 9 };

/** @typedef {{channelId: string, localUid: number}} Connection */

export class Engine {
  /** The SDK's own IRtcEngineEx. */
  sdk;
  native;
  /** The network's answer to renewToken: a refusal above 0; null for none. @type {number | null} */
  result = 0;
  #main;

  /**
   * @param {"react-native-agora" | "agora-electron-sdk"} name
   * @param {Connection} main the connection of joinChannel
   */
  constructor(name, main) {
    const { sdk, native } = load(name);
    this.#main = main;
    this.native = native;
    this.sdk = sdk.createAgoraRtcEngine();
    this.sdk.release(); // an earlier test's handlers
    native.calls = [];
    native.oncall = (method, { token }) => {
      if (method === "renewToken" && this.result !== null) this.says("onRenewTokenResult", main, { token, code: this.result });
    };
  }

  /** The calls of its native part that passed tokens. */
  get renewals() {
    return this.native.calls.filter(({ name }) => ["renewToken", "updateChannelMediaOptionsEx"].includes(name));
  }

  /** Sets the result of both of these calls: a refusal below 0. @param {number} code */
  set returns(code) {
    for (const name of ["renewToken", "updateChannelMediaOptionsEx"]) this.native.refusals.set(name, code);
  }

  /**
   * An event about a connection.
   * @param {string} event
   * @param {Connection} connection
   * @param {object} [data]
   */
  says(event, connection, data) {
    this.native.says(`RtcEngineEventHandler_${event}_0`, { connection, ...data });
  }

  /**
   * @param {Connection} connection
   * @param {number} state of ConnectionStateType
   * @param {number} reason of ConnectionChangedReasonType
   */
  becomes(connection, state, reason) {
    this.native.states.set(connection === this.#main ? undefined : connection.channelId, state); // getConnectionState names no connection
    this.says("onConnectionStateChanged", connection, { state, reason });
  }
}
