// The credential that opens a session, and the app's function that fetches it.

/** @import { Alarms } from "./time.js" */

/** How long the app's function may take, in milliseconds. */
const fetchTimeout = 30_000;

export class Credential {
  #source;
  #alarms;
  /** What was fetched for the next session, or is being fetched. @type {Promise<string> | null} */
  #fetched = null;
  /** Whether the service has refused one, and another is being tried. */
  #refused = false;

  /**
   * @param {string | (() => string | Promise<string>) | undefined} source the credential, or the app's function that fetches one
   * @param {Alarms} alarms
   */
  constructor(source, alarms) {
    this.#source = source;
    this.#alarms = alarms;
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
      this.#fetched.catch(() => this.discard()); // the caller has the rejection; the next call fetches again
    }
    return this.#fetched;
  }

  /** The next session needs another one. */
  discard() {
    this.#fetched = null;
  }

  /** The service has accepted the credential, or the session's resume key. */
  accepted() {
    this.#refused = false;
    this.discard();
  }

  /**
   * The service has refused the credential: most likely it expired.
   * @returns {boolean} whether another one can be tried: one time in a row, if a function fetches it
   */
  refused() {
    if (this.#refused || typeof this.#source !== "function") return false;
    this.#refused = true;
    this.discard();
    return true;
  }

  /** @param {() => string | Promise<string>} source */
  async #fetch(source) {
    const text = await this.#alarms.within(fetchTimeout, Promise.resolve().then(source), "credential");
    const credential = text.trim();
    if (!/^\S+$/.test(credential)) throw new Error("not a credential"); // most likely it is an error page
    return credential;
  }
}
