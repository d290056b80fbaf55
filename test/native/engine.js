// An engine of react-native-agora or agora-electron-sdk: the SDK's object, with a simulated native part that
// the test controls.

import { load } from "./native-part.js";

export const states = { disconnected: 1, connected: 3, failed: 5 };
export const reasons = { joined: 1, banned: 3, left: 5, invalidToken: 8, tokenExpired: 9 };

/** @typedef {{channelId: string, localUid: number}} Connection */

export class Engine {
  sdk;
  native;
  /** The network's answer to renewToken: 0 accepts, a code above 0 refuses, null sends no answer. @type {number | null} */
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
    this.sdk.release(); // removes the handlers of an earlier test
    native.calls = [];
    native.oncall = (method, { token }) => {
      if (method === "renewToken" && this.result !== null) this.says("onRenewTokenResult", main, { token, code: this.result });
    };
  }

  /** The calls that passed a token to the native part. */
  get renewals() {
    return this.native.calls.filter(({ name }) => ["renewToken", "updateChannelMediaOptionsEx"].includes(name));
  }

  /** Sets the result of both calls that pass a token; a negative code refuses the token. @param {number} code */
  set returns(code) {
    for (const name of ["renewToken", "updateChannelMediaOptionsEx"]) this.native.refusals.set(name, code);
  }

  /**
   * Sends the SDK an event about a connection.
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
    // getConnectionState has no argument: it returns the state of the main connection, which native.states has
    // under the key undefined.
    this.native.states.set(connection === this.#main ? undefined : connection.channelId, state);
    this.says("onConnectionStateChanged", connection, { state, reason });
  }
}
