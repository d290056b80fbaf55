// A participant's own network, which can be switched off: their connections to
// the service and to the edge go through it, and nobody else's.

/** @import { Platform, WebSocketLike } from "./client/platform.js" */

/** A WebSocket that ends with its network. Once closed it says nothing more. */
class Line {
  /** @type {WebSocketLike["onopen"]} */
  onopen = null;
  /** @type {WebSocketLike["onmessage"]} */
  onmessage = null;
  /** @type {WebSocketLike["onclose"]} */
  onclose = null;
  /** @type {WebSocketLike["onerror"]} */
  onerror = null;
  /** @type {WebSocket | null} */
  #socket = null;
  #over = false;

  /**
   * @param {Network} network
   * @param {string} url
   * @param {string} [protocols]
   */
  constructor(network, url, protocols) {
    this.url = url;
    if (!network.up) {
      setTimeout(() => this.cut()); // as a browser without a network answers
      return;
    }
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    network.lines.add(this);
    socket.onopen = (event) => (this.#over ? socket.close() : this.onopen?.(event));
    socket.onmessage = (event) => this.#over || this.onmessage?.(event);
    socket.onclose = (event) => {
      network.lines.delete(this);
      if (!this.#over) this.onclose?.(event);
      this.#over = true;
    };
  }

  /** @param {string} data */
  send(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  /** @param {number} [code] */
  close(code) {
    this.#over = true;
    // One that is still opening is closed when it is open: browsers complain else.
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.close(code);
  }

  /** Breaks it: 1006, without a farewell. */
  cut() {
    if (this.#over) return;
    this.close();
    this.onclose?.({ code: 1006 });
  }
}

export class Network {
  up = true;
  /** @type {Set<Line>} those that are open */
  lines = new Set();
  #outage = new AbortController();

  /** @param {boolean} up */
  set(up) {
    this.up = up;
    if (up) {
      this.#outage = new AbortController();
      return;
    }
    this.#outage.abort(new TypeError("the network went down"));
    for (const line of [...this.lines]) line.cut();
  }

  /**
   * Breaks the connections to an address.
   * @param {string} path
   */
  kill(path) {
    for (const line of [...this.lines]) if (line.url.endsWith(path)) line.cut();
  }

  /**
   * What the library uses in place of the browser's own.
   * @returns {Pick<Platform, "WebSocket" | "fetch">}
   */
  get platform() {
    const network = this;
    return {
      WebSocket: class extends Line {
        /**
         * @param {string} url
         * @param {string} [protocols]
         */
        constructor(url, protocols) {
          super(network, url, protocols);
        }
      },
      fetch: async (url, init) => {
        if (!network.up) throw new TypeError("the network is down");
        return fetch(url, { ...init, signal: AbortSignal.any([init.signal, network.#outage.signal]) });
      },
    };
  }
}
