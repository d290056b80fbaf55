// What the library takes from its surroundings. A browser has all of it; the
// option `platform` replaces any part, in tests, in Node 20 (which has no
// WebSocket) and in React Native (which has no page events).

/**
 * @typedef {object} Platform
 * @property {new (url: string, protocols: string) => WebSocketLike} WebSocket
 * @property {(url: string, init: {method: string, headers: Record<string, string>, body: string, signal: any}) => Promise<ResponseLike>} fetch as a browser has it; the signal is an AbortSignal, which has no type where there are none of a DOM
 * @property {(run: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} wallNow Unix milliseconds, by the device's clock
 * @property {() => number} steadyNow milliseconds that nobody can set back
 * @property {() => number} random from 0 to 1
 * @property {(hide: () => void) => () => void} [onHide] calls hide before the page goes away, perhaps for good; returns what stops that. Absent where there is no page
 * @property {(wake: () => void) => () => void} onWake calls wake when the device or the page may have slept or changed its network; returns what stops that
 */

/**
 * The part of a WebSocket that is used.
 * @typedef {object} WebSocketLike
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/** @typedef {{status: number, headers: {get(name: string): string | null}, json(): Promise<any>}} ResponseLike */

/**
 * @param {Partial<Platform>} [own] what replaces the defaults
 * @returns {Platform}
 */
export function platform(own) {
  const { WebSocket, performance } = globalThis;
  return {
    WebSocket: /** @type {any} */ (WebSocket),
    // Called at the time of use and as functions of globalThis: pages replace
    // these, and browsers refuse them on another object.
    fetch: (url, init) => globalThis.fetch(url, init),
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    wallNow: () => Date.now(),
    steadyNow: () => performance.now(),
    random: () => Math.random(),
    onHide: typeof globalThis.window?.addEventListener === "function" ? onHide : undefined,
    onWake,
    ...own,
  };
}

/** @param {() => void} hide */
function onHide(hide) {
  const { window } = globalThis;
  window.addEventListener("pagehide", hide);
  return () => window.removeEventListener("pagehide", hide);
}

/** @param {() => void} wake */
function onWake(wake) {
  const { window, document } = globalThis;
  if (!window?.addEventListener || !document) return () => {}; // no page
  const visible = () => document.visibilityState === "visible" && wake();
  window.addEventListener("online", wake);
  window.addEventListener("pageshow", wake);
  document.addEventListener("visibilitychange", visible);
  return () => {
    window.removeEventListener("online", wake);
    window.removeEventListener("pageshow", wake);
    document.removeEventListener("visibilitychange", visible);
  };
}
