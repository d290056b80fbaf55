// The credential that opens a session, and the app's function that fetches it.

/** @import { Alarms } from "./time.js" */

import { parseCredential } from "./diagnose.js";

/** How long the app's function may take, in milliseconds. */
const fetchTimeout = 30_000;

export class Credential {
  #source;
  #alarms;
  /** The credential for the next session, fetched or being fetched. @type {Promise<string> | null} */
  #fetched = null;
  /** Whether the service refused the last credential, and another one is being tried. */
  #refused = false;

  /**
   * @param {string | (() => string | Promise<string>) | undefined} source the credential, or the app's function that fetches one
   * @param {Alarms} alarms
   */
  constructor(source, alarms) {
    this.#source = source === undefined || source === null || typeof source === "function" ? source : parseCredential(source, "credential must be text, or a function that returns it; it is");
    this.#alarms = alarms;
  }

  /** Whether the app has passed a credential, or a function that fetches one. */
  get given() {
    return !!this.#source;
  }

  /**
   * The credential for the next session. One fetch serves all connection attempts,
   * so that an outage of the service does not become a load on the app's back end.
   * @returns {string | undefined | Promise<string>}
   */
  get() {
    if (typeof this.#source !== "function") return this.#source;
    if (!this.#fetched) {
      this.#fetched = this.#fetch(this.#source);
      this.#fetched.catch(() => this.discard()); // the caller gets the rejection; the next call fetches again
    }
    return this.#fetched;
  }

  /** Forgets the credential: the next session fetches another one. */
  discard() {
    this.#fetched = null;
  }

  /** Records that the service accepted the credential, or the session's resume key. */
  accepted() {
    this.#refused = false;
    this.discard();
  }

  /**
   * Records that the service refused the credential, most likely since it expired.
   * @returns {boolean} whether another one can be tried: once in a row, and only if a function fetches it
   */
  refused() {
    if (this.#refused || typeof this.#source !== "function") return false;
    this.#refused = true;
    this.discard();
    return true;
  }

  /** @param {() => string | Promise<string>} source */
  async #fetch(source) {
    return parseCredential(await this.#alarms.within(fetchTimeout, Promise.resolve().then(source), "the credential function"), "the credential function returned");
  }
}
