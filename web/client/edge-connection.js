// A WebSocket to the demo's simulated Agora edge. Carries requests, their answers, and events.

/** @import { Platform } from "./platform.js" */

/** @typedef {{id: number, ok: boolean, publish?: boolean, code?: number, error?: string}} Answer */
/** @typedef {{event: string, reason?: string}} EdgeEvent */

export class EdgeConnection {
  #socket;
  #opened;
  reached = false;
  #lastId = 0;
  /** @type {Map<number, (answer?: Answer) => void>} */
  #pending = new Map();
  /** Resolves when the connection breaks, but not on close(). @type {Promise<void>} */
  lost;

  /**
   * @param {Platform["WebSocket"]} WebSocket
   * @param {string} url
   * @param {(event: EdgeEvent) => void} onevent
   */
  constructor(WebSocket, url, onevent) {
    const socket = new WebSocket(url, /** @type {any} */ (undefined));
    this.#socket = socket;
    this.#opened = new Promise((resolve) => {
      socket.onopen = () => {
        this.reached = true;
        resolve(undefined);
      };
    });
    this.lost = new Promise((resolve) => {
      socket.onclose = () => {
        this.#abandonRequests();
        resolve();
      };
    });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.event) return onevent(message);
      this.#pending.get(message.id)?.(message);
      this.#pending.delete(message.id);
    };
  }

  /**
   * Sends a request. Resolves with the answer, or with undefined if the connection breaks first.
   * @param {string} op
   * @param {object} fields
   * @returns {Promise<Answer | undefined>}
   */
  request(op, fields) {
    const id = ++this.#lastId;
    void this.#opened.then(() => this.#socket.send(JSON.stringify({ op, leg: "rtc", ...fields, id })));
    return new Promise((resolve) => this.#pending.set(id, resolve));
  }

  close() {
    this.#socket.close();
    this.#abandonRequests();
  }

  #abandonRequests() {
    for (const resolve of this.#pending.values()) resolve();
    this.#pending.clear();
  }
}
