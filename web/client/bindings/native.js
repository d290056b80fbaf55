// The binding for react-native-agora and agora-electron-sdk, from 4.6.2 on. Both have the same interface.

/** @import { Refresher } from "../refresher.js" */

/**
 * The SDK's RtcConnection. Without a localUid, the binding uses all events about the channel.
 * @typedef {object} EngineConnection
 * @property {string} [channelId]
 * @property {number} [localUid]
 */

/**
 * The part of the SDK's IRtcEngineEx that bindEngine uses.
 * @typedef {object} Engine
 * @property {(token: string) => number} renewToken
 * @property {(options: {token?: string}, connection: EngineConnection) => number} updateChannelMediaOptionsEx
 * @property {() => number} getConnectionState
 * @property {(connection: EngineConnection) => number} getConnectionStateEx
 * @property {(handler: any) => boolean} registerEventHandler
 * @property {(handler: any) => boolean} unregisterEventHandler
 */

const disconnected = 1, connected = 3, reconnecting = 4, failed = 5;
const tokenExpired = 9;

/** How long to wait for onRenewTokenResult, in milliseconds. It must be less than the library's sdkTimeout, so that this renewal ends before the library delivers the next token. */
const resultTimeout = 7_000;

/**
 * Renews the token of one connection of an engine. Call it before joining.
 * @param {Refresher} refresher
 * @param {Engine} engine what createAgoraRtcEngine() returns
 * @param {EngineConnection} connection the channelId and the localUid with which the call is joined. Leave localUid out if it is 0, or if the call is joined with a user account
 * @param {{ex?: boolean}} [options] ex: whether the connection is joined by joinChannelEx, and not by joinChannel
 * @returns {() => void} unbinds the connection
 */
export function bindEngine(refresher, engine, connection, { ex = false } = {}) {
  if (!engine?.registerEventHandler) throw new TypeError("not an engine of react-native-agora or agora-electron-sdk: use bind()");
  /** @type {Map<string, (code: number) => void>} for each token, the function that settles its renewal when onRenewTokenResult comes */
  const results = new Map();

  /** @param {string} token */
  const renew = (token) => {
    if (ex) return engine.updateChannelMediaOptionsEx({ token }, connection);
    /** @type {any} */
    let timer;
    return new Promise((resolve, reject) => {
      timer = setTimeout(reject, resultTimeout, { code: "TIMEOUT", message: "no onRenewTokenResult" });
      results.set(token, (code) => (code === 0 ? resolve(code) : reject({ code, message: "onRenewTokenResult" })));
      const returned = engine.renewToken(token); // the SDK may call onRenewTokenResult before renewToken returns
      if (returned < 0) resolve(returned);
    }).finally(() => {
      clearTimeout(timer);
      results.delete(token);
    });
  };

  /**
   * Whether an event is about this connection: the SDK reports the events of all connections to each handler.
   * @param {EngineConnection} of
   */
  const own = (of) => of.channelId === connection.channelId && (!connection.localUid || of.localUid === connection.localUid);

  return refresher.bind("rtc", {
    renew,
    rejoin: renew, // renewToken also works after the token expired: the engine then returns to the call
    isJoined: () => [connected, reconnecting].includes(ex ? engine.getConnectionStateEx(connection) : engine.getConnectionState()),
    listen: ({ willExpire, expired, left, joined }) => {
      const handler = {
        onTokenPrivilegeWillExpire: (/** @type {EngineConnection} */ of) => void (own(of) && willExpire()),
        onRequestToken: (/** @type {EngineConnection} */ of) => void (own(of) && expired()),
        onRenewTokenResult: (/** @type {EngineConnection} */ of, /** @type {string} */ token, /** @type {number} */ code) => void (own(of) && results.get(token)?.(code)),
        onConnectionStateChanged: (/** @type {EngineConnection} */ of, /** @type {number} */ state, /** @type {number} */ reason) => {
          if (!own(of)) return;
          if (state === connected) joined();
          if ([disconnected, failed].includes(state) && reason !== tokenExpired) left(state === failed);
        },
      };
      engine.registerEventHandler(handler);
      return () => void engine.unregisterEventHandler(handler);
    },
  }).unbind;
}
