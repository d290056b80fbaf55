// Messages for the mistakes that keep an app from its first session: in its options, its
// credential function, and the way to the service. None contains a secret.

/** @import { Platform } from "./platform.js" */
/** @import { State } from "./events.js" */
/** @import { ResumeToken } from "./resume.js" */

import { describeRefusal, withoutTokens } from "./binding.js";

/**
 * Returns the service's address after "http" or "ws", such as "s://calls.example.com". It
 * accepts the address of the WebSocket too. Throws a TypeError that says what to write.
 * @param {unknown} url the option
 */
export function parseUrl(url) {
  const text = `${url ?? ""}`.trim();
  const address = /^(?:http|ws)(s?:\/\/[^\s/?#@]+(?:\/[^\s?#]*?)??)(?:\/v1\/ws)?\/*$/i.exec(text)?.[1];
  if (address) return address;
  const host = /^[\w-]+([.:][\w-]+)+(?=\/|$)/.exec(text)?.[0];
  throw new TypeError(host
    ? `url has no scheme: write "http${/^(localhost|127\.)/.test(host) ? "" : "s"}://${host}"`
    : `url must be the service's address, such as "https://calls.example.com"; it is ${typeof url === "string" ? text ? "another text" : "empty" : url}`);
}

/**
 * Returns a credential without the spaces around it. Throws a TypeError if the value is
 * certainly none.
 * @param {any} value
 * @param {string} source where the value is from: the message begins with it
 */
export function parseCredential(value, source) {
  const text = typeof value === "string" ? value.trim() : value ?? "";
  const mistake = typeof text !== "string" ? describe(text)
    : !text ? "nothing"
      : /^</.test(text) ? "HTML: is the address right, and the user logged in?"
        : /^["[{]/.test(text) ? "JSON: parse it, and take the credential out of it"
          : /\s/.test(text) && "text with spaces in it";
  if (mistake) throw new TypeError(`${source} ${mistake}`);
  return text;
}

/** @param {any} value that is not text */
function describe(value) {
  if (typeof value !== "object") return `a ${typeof value}`;
  if (value.then) return "a promise: pass the function that returns it";
  if (value.text) return "a Response: read its text with await response.text()";
  const field = Object.keys(value).find((key) => /^eyJ/.test(value[key])); // as every JWT begins
  return `an object${field ? `: take its field ${field}` : ""}`;
}

/** The session's members that a Diagnosis uses. @typedef {{platform: Platform, address: string, state: State, resume: {token: ResumeToken | null}}} Parts */

/** Warns in the console, once for each cause, until the session has joined for the first time. */
export class Diagnosis {
  #session;
  /** @type {Set<string>} */
  #causes = new Set();

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /** @param {unknown} error of the app's credential function, or about what it returned */
  credentialFailed(error) {
    this.#warn("credential", `no credential was fetched: ${describeRefusal(error).message}`);
  }

  /** @param {string} reason of the event `lost` */
  notConnected(reason) {
    if (!/1006|no answer|not connected/.test(reason)) return; // the service has answered
    const { address } = this.#session;
    const { origin = "", protocol } = globalThis.location ?? {};
    const checks = [
      `http${address}/ping answers in a browser, and the path is the service's --base-path`,
      protocol === "https:" && address[0] === ":" && "the url begins with https:, as this page does",
      origin && !`http${address}/`.startsWith(`${origin}/`) && `--allowed-origins of the service has ${origin} (its log names refused origins)`,
      origin && "the page's content security policy, if any, allows both https: and wss: of that host",
      "proxies pass WebSockets on",
    ];
    this.#warn("connection", `no connection to ws${address}/v1/ws (${reason}), which is tried again. Check that\n- ${checks.filter(Boolean).join("\n- ")}`);
  }

  /**
   * @param {string} code of the service's message `error`
   * @param {string} message
   * @param {boolean} hasCredential whether the app passes a credential
   */
  refused(code, message, hasCredential) {
    if (this.#session.resume.token) return; // a session that has ended is no mistake
    this.#warn(code, `the service refused to join: ${code}: ${message}${code === "unauthenticated" && !hasCredential ? ". The option credential is missing" : ""}`);
  }

  /**
   * @param {string} cause
   * @param {string} text
   */
  #warn(cause, text) {
    const { state, platform } = this.#session;
    if (state !== "connecting" || this.#causes.has(cause)) return;
    this.#causes.add(cause);
    platform.warn(`@refresher/client: ${withoutTokens(text)}`);
  }
}
