// Loads the JavaScript code of Agora's SDKs for React Native and Electron with a simulated native part: an
// object that receives the SDK's native calls and sends events. All code between this object and the app is the
// SDK's own.

import Module, { createRequire } from "node:module";

const require = createRequire(import.meta.url);

class NativePart {
  /** The calls so far, in order, without the hash that the SDK appends to each name. @type {{name: string, params: any}[]} */
  calls = [];
  /** The refused calls: the negative result, keyed by the call's name. @type {Map<string, number>} */
  refusals = new Map();
  /** The results of getConnectionState: under `undefined` for the connection of joinChannel, under the channel for a connection of joinChannelEx. @type {Map<string | undefined, number>} */
  states = new Map();
  /** Called after each call that succeeds. @type {(name: string, params: any, requestId: number) => void} */
  oncall = () => {};
  /** Passes an event to the SDK. @type {(event: string, data: string) => void} */
  deliver = () => {};

  /**
   * Handles a native call of the SDK.
   * @param {string} hashed the call's name with the SDK's hash
   * @param {string} json
   */
  call(hashed, json) {
    const [, name = ""] = hashed.split("_");
    const params = JSON.parse(json);
    const requestId = this.calls.push({ name, params });
    const refusal = this.refusals.get(name);
    if (!refusal) queueMicrotask(() => this.oncall(name, params, requestId));
    const state = this.states.get(params.connection?.channelId) ?? 1;
    return JSON.stringify({ result: refusal ?? (/^getConnectionState/.test(name) ? state : 0), requestId });
  }

  /**
   * Sends an event to the SDK.
   * @param {string} event its name in the SDK's native code
   * @param {object} data
   */
  says(event, data) {
    this.deliver(event, JSON.stringify(data));
  }
}

/** The modules of React Native that Agora's SDKs import. */
function reactNative(/** @type {NativePart} */ native) {
  const module = {
    callApi: (/** @type {{funcName: string, params: string}} */ { funcName, params }) => native.call(funcName, params),
    newIrisApiEngine() {}, newIrisRtmEngine() {}, destroyIrisApiEngine() {}, destroyIrisRtmEngine() {}, pipDispose() {},
  };
  return {
    NativeModules: { AgoraRtcNg: module, AgoraRtmNg: module },
    NativeEventEmitter: class {
      addListener(/** @type {string} */ _, /** @type {(event: object) => void} */ listener) {
        native.deliver = (event, data) => listener({ event, data, buffers: [] });
      }

      removeAllListeners() {}
    },
    StyleSheet: { create: (/** @type {object} */ styles) => styles },
    Platform: { OS: "android", select: (/** @type {any} */ all) => all.default },
  };
}

const electron = (/** @type {NativePart} */ native) => ({
  AgoraElectronBridge: class {
    OnEvent(/** @type {string} */ _, /** @type {(event: string, data: string, buffers: []) => void} */ listener) {
      native.deliver = (event, data) => listener(event, data, []);
    }

    CallApi(/** @type {string} */ funcName, /** @type {string} */ params) {
      return { callApiReturnCode: 0, callApiResult: native.call(funcName, params) };
    }

    ReleaseEnv() {}

    ReleaseRenderer() {}
  },
});

const component = class {};

/** The SDKs that are already loaded; loading one takes a quarter of a second. @type {Map<string, {sdk: any, native: NativePart}>} */
const loaded = new Map();

/**
 * Returns the SDK with its native part in the initial state. The caller must first release the SDK's objects of
 * earlier calls.
 * @param {"react-native-agora" | "agora-electron-sdk" | "agora-react-native-rtm"} name
 * @returns {{sdk: any, native: NativePart}}
 */
export function load(name) {
  const before = loaded.get(name);
  if (before) {
    const { deliver } = before.native;
    Object.assign(before.native, new NativePart(), { deliver });
    return before;
  }
  const native = new NativePart();
  const stubs = new Map(Object.entries({
    "react-native": reactNative(native),
    "react-native/Libraries/Utilities/codegenNativeComponent": { __esModule: true, default: () => component },
    "react": { __esModule: true, default: { Component: component }, Component: component, createContext: () => ({}) },
    "../../../build/Release/agora_node_ext": electron(native),
  }));
  const loader = /** @type {any} */ (Module);
  const { _load } = loader;
  try {
    loader._load = (/** @type {string} */ request, /** @type {unknown[]} */ ...rest) => stubs.get(request) ?? _load(request, ...rest);
    loaded.set(name, { sdk: require(name), native });
  } finally {
    loader._load = _load;
  }
  return load(name);
}
