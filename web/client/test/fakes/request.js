import { settle } from "./time.js";

/** A request over HTTP, which the test answers. */
export class FakeRequest {
  pending = true;
  #resolve;
  #reject;

  constructor(url, { method, headers, body, signal, keepalive = false }, resolve, reject) {
    Object.assign(this, { url, method, headers, body: JSON.parse(body), keepalive });
    this.#resolve = resolve;
    this.#reject = reject;
    signal?.addEventListener("abort", () => this.#settle(reject, new DOMException("aborted", "AbortError")));
  }

  /** @param {unknown} body an object, or the text of a body that is no JSON */
  async answers(status, body = {}, headers = {}) {
    const json = async () => (typeof body === "string" ? JSON.parse(body) : structuredClone(body));
    this.#settle(this.#resolve, { status, headers: new Headers(headers), json });
    await settle();
  }

  async fails() {
    this.#settle(this.#reject, new TypeError("Failed to fetch"));
    await settle();
  }

  #settle(how, value) {
    this.pending = false;
    how(value);
  }
}
