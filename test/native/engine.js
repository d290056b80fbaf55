// A double of the engine of react-native-agora and agora-electron-sdk, made from
// their types, by which it is compiled in native.test.js. What passes its events
// on to handlers is the SDK's own function.

/** @import { IRtcEngineEventHandler, IRtcEngineEx, RtcConnection } from "react-native-agora" */

/** What bindEngine uses of an engine. @typedef {"renewToken" | "updateChannelMediaOptionsEx" | "registerEventHandler" | "unregisterEventHandler" | "getConnectionState" | "getConnectionStateEx"} Used */

/** @implements {Pick<IRtcEngineEx, Used>} */
export class Engine {
  /** What was called, with what. @type {unknown[][]} */
  calls = [];
  /** What the next calls return: below 0, a refusal. */
  returns = 0;
  /** What the network answers to renewToken: above 0, a refusal; null: nothing. @type {number | null} */
  result = 0;
  /** @type {Map<string | undefined, number>} */
  states = new Map();
  /** @type {Set<IRtcEngineEventHandler>} */
  handlers = new Set();
  #process;
  #main;

  /**
   * @param {(handler: IRtcEngineEventHandler, event: string, params: object) => void} process the SDK's processIRtcEngineEventHandler
   * @param {RtcConnection} main the connection of joinChannel
   */
  constructor(process, main) {
    this.#process = process;
    this.#main = main;
  }

  /** @param {string} token */
  renewToken(token) {
    this.calls.push(["renewToken", token]);
    if (this.returns === 0 && this.result !== null) queueMicrotask(() => this.says("onRenewTokenResult", this.#main, { token, code: this.result }));
    return this.returns;
  }

  /** @type {IRtcEngineEx["updateChannelMediaOptionsEx"]} */
  updateChannelMediaOptionsEx(options, connection) {
    this.calls.push(["updateChannelMediaOptionsEx", options, connection]);
    return this.returns;
  }

  /** @param {IRtcEngineEventHandler} handler */
  registerEventHandler(handler) {
    this.handlers.add(handler);
    return true;
  }

  /** @param {IRtcEngineEventHandler} handler */
  unregisterEventHandler(handler) {
    return this.handlers.delete(handler);
  }

  getConnectionState() {
    return this.getConnectionStateEx(this.#main);
  }

  /** @param {RtcConnection} connection */
  getConnectionStateEx({ channelId }) {
    return this.states.get(channelId) ?? 1;
  }

  /**
   * @param {string} event
   * @param {RtcConnection} connection
   * @param {object} [params]
   */
  says(event, connection, params) {
    for (const handler of [...this.handlers]) this.#process(handler, event, { connection, ...params });
  }

  /**
   * @param {RtcConnection} connection
   * @param {number} state of ConnectionStateType
   * @param {number} reason of ConnectionChangedReasonType
   */
  becomes(connection, state, reason) {
    this.states.set(connection.channelId, state);
    this.says("onConnectionStateChanged", connection, { state, reason });
  }
}
