import assert from "node:assert/strict";

import { settle } from "./time.js";

/** A WebSocket. The test plays the service at the other end. */
export class FakeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  readyState = 0;
  sent = [];
  pings = [];
  answersPings = true;
  /** The heartbeat that `joined` has set, in seconds; Infinity before that. */
  heartbeat = Infinity;
  closedWith = null;
  #network;

  constructor(network, url, protocols) {
    Object.assign(this, { url, protocols });
    this.#network = network;
    network.sockets.push(this);
    network.service?.connects(this);
    if (network.blocked) network.at(network.time, () => this.readyState === 0 && void this.closes(1006));
  }

  // The interface of a browser's WebSocket, which the library uses.

  send(data) {
    if (this.readyState === 0) throw new Error("InvalidStateError: it is not open yet");
    if (this.readyState !== 1) return;
    const message = JSON.parse(data);
    this.heard?.(message);
    if (message.type !== "ping") return void this.sent.push(message);
    this.pings.push(this.#network.time);
    if (this.answersPings) this.#network.at(this.#network.time, () => this.readyState === 1 && void this.says({ type: "pong", now: this.#network.time }));
  }

  close(code = 1000) {
    if (code !== 1000 && !(code >= 3000 && code < 5000)) throw new Error(`InvalidAccessError: ${code}`);
    if (this.readyState > 1) return;
    this.closedWith = code;
    this.readyState = 2;
    this.#network.at(this.#network.time + 50, () => this.#end(code));
  }

  // What the service does with the socket: the test calls these functions.

  /** Returns the messages that the page sent since the last call. */
  take() {
    return this.sent.splice(0);
  }

  async opens() {
    assert.equal(this.readyState, 0, "the socket waits to be opened");
    this.readyState = 1;
    this.#network.run(() => this.onopen?.({}));
    await settle();
  }

  /** @param {unknown} message sent as JSON; a string as it is */
  async says(message) {
    assert.equal(this.readyState, 1, "the socket is open");
    if (message.type === "joined") this.heartbeat = message.heartbeat;
    this.#network.run(() => this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) }));
    await settle();
  }

  async closes(code = 1006) {
    assert.ok(this.readyState < 2, "the socket is not closed yet");
    this.readyState = 3;
    if (code === 1006) this.#network.run(() => this.onerror({})); // Node.js throws when an error event has no listener
    this.#end(code);
    await settle();
  }

  async refuses(code, error = "bad_request", message = "no") {
    await this.says({ type: "error", code: error, message });
    await this.closes(code);
  }

  /** Sends `ended`, and closes the socket. */
  async endsWith(reason, code = 4410, accessEndsAt = 0) {
    await this.says({ type: "ended", reason, accessEndsAt });
    await this.closes(code);
  }

  #end(code) {
    this.readyState = 3;
    this.#network.run(() => this.onclose?.({ code }));
  }
}
