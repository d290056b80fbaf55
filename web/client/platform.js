// The browser functions that the library uses. The option `platform` replaces any of them: in
// tests, in Node.js 20 (which has no WebSocket) and in React Native (which has no page events).

/**
 * The browser functions that the library uses.
 * @typedef {object} Platform
 * @property {new (url: string, protocols: string) => WebSocketLike} WebSocket the constructor of WebSockets
 * @property {(url: string, init: {method: string, headers?: Record<string, string>, body: string, signal?: any, keepalive?: boolean}) => Promise<ResponseLike>} fetch the browser's fetch(). The signal is an AbortSignal; it is `any` here because only the DOM's types declare it
 * @property {(run: () => void, ms: number) => unknown} setTimeout calls run once, after ms milliseconds; returns the timer
 * @property {(timer: any) => void} clearTimeout stops such a timer
 * @property {() => number} wallNow the device's clock, in Unix milliseconds: Date.now()
 * @property {() => number} steadyNow milliseconds of a clock that nobody can set: performance.now()
 * @property {() => number} random a random number from 0 to 1: Math.random()
 * @property {(text: string) => void} warn shows a message to the app's developer: about a mistake that keeps the app from its first session, or an SDK that was removed from the call: console.warn()
 * @property {(hide: () => void) => () => void} [onHide] calls hide whenever the page goes away, even if it may come back; returns a function that unsubscribes. Leave it out where there is no page
 * @property {() => boolean} [isHidden] whether the page is hidden or going away. Its messages on a WebSocket may then be lost. Leave it out where there is no page
 * @property {(wake: () => void) => () => void} onWake calls wake when the device or the page may have slept, or the network has changed; returns a function that unsubscribes
 */

/**
 * The members of a WebSocket that the library uses.
 * @typedef {object} WebSocketLike
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 */

/**
 * The members of a Response that the library uses.
 * @typedef {{status: number, headers: {get(name: string): string | null}, json(): Promise<any>}} ResponseLike
 */

/**
 * Returns the platform of the browser. The functions in `own` replace the browser's.
 * @param {Partial<Platform>} [own]
 * @returns {Platform}
 */
export function platform(own) {
  const { WebSocket, performance, document, window } = /** @type {any} */ (globalThis);
  return {
    WebSocket,
    // Pages may replace these functions later, so they are looked up at each call. Browsers reject any `this`
    // but globalThis.
    fetch: (url, init) => globalThis.fetch(url, init),
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    wallNow: () => Date.now(),
    steadyNow: () => performance.now(),
    random: () => Math.random(),
    warn: (text) => console.warn(text),
    ...(document && window?.addEventListener ? page : { onWake: () => () => {} }),
    ...own,
  };
}

const page = {
  // During pagehide and beforeunload, visibilityState is still "visible", so the type of the current event
  // counts too.
  isHidden: () => document.visibilityState === "hidden" || /pagehide|unload/.test(/** @type {any} */ (window).event?.type),
  onHide: (/** @type {() => void} */ hide) => {
    window.addEventListener("pagehide", hide);
    return () => window.removeEventListener("pagehide", hide);
  },
  onWake: (/** @type {() => void} */ wake) => {
    const visible = () => document.visibilityState === "visible" && wake();
    window.addEventListener("online", wake);
    window.addEventListener("pageshow", wake);
    document.addEventListener("visibilitychange", visible);
    return () => {
      window.removeEventListener("online", wake);
      window.removeEventListener("pageshow", wake);
      document.removeEventListener("visibilitychange", visible);
    };
  },
};
