// Messages about mistakes that keep an app from opening its first session: in its options, its credential
// function or its network. No message contains a secret.

/** @import { Platform } from "./platform.js" */
/** @import { Identity } from "./protocol.js" */
/** @import { State } from "./events.js" */
/** @import { ResumeToken } from "./resume.js" */

import { describeRefusal, withoutTokens } from "./binding.js";

/**
 * Returns the service's address without its scheme's "http" or "ws": "s://calls.example.com" for
 * "https://calls.example.com". Also accepts the WebSocket's address. Throws a TypeError that says
 * what to write.
 * @param {unknown} url the option
 */
export function parseUrl(url) {
  const text = `${url ?? ""}`.trim();
  const address = /^(?:http|ws)(s?:\/\/[^\s/?#@]+(?:\/[^\s?#]*?)??)(?:\/v1\/ws)?\/*$/i.exec(text)?.[1];
  if (address) return address;
  const host = /^[\w-]+([.:][\w-]+)+(?=\/|$)/.exec(text)?.[0];
  if (host) throw new TypeError(`url has no scheme: write "http${/^(localhost|127\.)/.test(host) ? "" : "s"}://${host}"`);
  const kind = typeof url !== "string" ? url : text ? "another text" : "empty";
  throw new TypeError(`url must be the service's address, such as "https://calls.example.com"; it is ${kind}`);
}

/**
 * Returns a credential without surrounding spaces. Throws a TypeError if the value cannot be a
 * credential.
 * @param {any} value
 * @param {string} source the value's source, with which the error's message begins
 * @returns {string}
 */
export function parseCredential(value, source) {
  const credential = typeof value === "string" ? value.trim() : value;
  const mistake = mistakeIn(credential);
  if (mistake) throw new TypeError(`${source} ${mistake}`);
  return credential;
}

/**
 * Describes a value that is not a credential, without revealing its content.
 * @param {any} value
 * @returns {string | undefined} undefined if it may be a credential
 */
function mistakeIn(value) {
  if ((value ?? "") === "") return "nothing";
  if (typeof value === "string") {
    if (/^</.test(value)) return "HTML: is the address right, and the user logged in?";
    if (/^["[{]/.test(value)) return "JSON: parse it, and take the credential out of it";
    return /\s/.test(value) ? "text with spaces in it" : undefined;
  }
  if (typeof value !== "object") return `a ${typeof value}`;
  if (value.then) return "a promise: pass the function that returns it";
  if (value.text) return "a Response: read its text with await response.text()";
  const field = Object.keys(value).find((key) => /^eyJ/.test(value[key])); // every JWT begins like this
  return `an object${field ? `: take its field ${field}` : ""}`;
}

/**
 * The session's members that a Diagnosis uses.
 * @typedef {object} Parts
 * @property {Platform} platform
 * @property {string} address the service's address without "http" or "ws", such as "s://calls.example.com"
 * @property {Identity} identity
 * @property {State} state
 * @property {{token: ResumeToken | null}} resume
 */

/** Until the session has joined for the first time, warns in the console, once for each cause. */
export class Diagnosis {
  #session;
  /** @type {Set<string>} */
  #causes = new Set();

  /** @param {Parts} session */
  constructor(session) {
    this.#session = session;
  }

  /** Warns about a credential that could not be fetched. @param {unknown} error the error of the app's credential function, or of parseCredential */
  credentialFailed(error) {
    // The browser's own message quotes the answer, which may be a credential.
    const notJson = error instanceof SyntaxError;
    const mistake = notJson ? "the answer is not JSON: read a credential with await response.text()" : describeRefusal(error).message;
    this.#warn("credential", `no credential was fetched: ${mistake}`);
  }

  /**
   * Warns about an attempt to connect that failed before the service answered.
   * @param {string} reason of the event `lost`
   */
  notConnected(reason) {
    if (!/1006|no answer|not connected/.test(reason)) return; // other reasons mean that the service answered, so the network works
    const { address } = this.#session;
    const { origin = "", protocol } = globalThis.location ?? {};
    const path = address.split(/\/\/[^/]*/)[1];
    const checks = [
      `the service runs: http${address}/ping answers in a browser`,
      path && `the service has --base-path=${path}: without it, the url has no path`,
      protocol === "https:" && address[0] === ":" && "the url begins with https:, as this page does",
      origin && !`http${address}/`.startsWith(`${origin}/`) && `${origin} is in the service's --allowed-origins: add it, or open the page at an origin that is (the log names refused ones)`,
      origin && "the content security policy, if any, allows https: and wss: of that host",
      "proxies pass WebSockets on",
    ];
    this.#warn("connection", `no connection to ws${address}/v1/ws (${reason}). Check that\n- ${checks.filter(Boolean).join("\n- ")}`);
  }

  /**
   * Warns about a join that the service refused.
   * @param {string} code of the service's message `error`
   * @param {string} message
   * @param {boolean} hasCredential whether the app passes a credential
   */
  refused(code, message, hasCredential) {
    if (this.#session.resume.token) return; // the app has had a session, so its options are right
    const { rtc, rtm, chat } = this.#session.identity;
    const hint = {
      unauthenticated: hasCredential ? ". The service's log has the reason" : ". The option credential is missing",
      forbidden: /grant/.test(message) && `. The page asks for ${JSON.stringify({ rtc, rtm, chat })}: compare grants of the credential`,
    }[code];
    this.#warn(code, `the service refused to join: ${code}: ${message}${hint || ""}`);
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
