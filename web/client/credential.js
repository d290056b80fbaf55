// The credential that opens a session, and the app's function that fetches it.

/** @import { Alarms } from "./time.js" */

import { parseCredential } from "./diagnose.js";

const fetchTimeout = 30_000;

export class Credential {
  #source;
  #alarms;
  /** The credential for the next session, or its running fetch. @type {Promise<string> | null} */
  #fetched = null;
  /** Whether the service refused the last credential. False again when it accepts one. */
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
   * Returns the credential for the next session. All attempts to connect share one fetch, so that an outage of
   * the service causes no load on the app's back end.
   * @returns {string | undefined | Promise<string>}
   */
  get() {
    if (typeof this.#source !== "function") return this.#source;
    if (!this.#fetched) {
      this.#fetched = this.#fetch(this.#source);
      this.#fetched.catch(() => this.discard()); // the caller handles the rejection; here it only causes another fetch at the next call
    }
    return this.#fetched;
  }

  discard() {
    this.#fetched = null;
  }

  /** Records that the service accepted the credential, or the session's resume key. */
  accepted() {
    this.#refused = false;
    this.discard();
  }

  /**
   * Records that the service refused the credential, most likely because it expired.
   * @returns {boolean} whether to try another credential: only if a function can fetch it, and only if the previous
   * credential was not refused, too
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
