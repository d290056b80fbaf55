// A participant's own network, which can be switched off. Their connections to the
// service and to the edge go through it, those of the other participant do not.

/** @import { Platform, WebSocketLike } from "./client/platform.js" */

/** A WebSocket that breaks with its network. Once closed it reports nothing more. */
class NetworkSocket {
  /** @type {WebSocketLike["onopen"]} */
  onopen = null;
  /** @type {WebSocketLike["onmessage"]} */
  onmessage = null;
  /** @type {WebSocketLike["onclose"]} */
  onclose = null;
  /** Never called, since a browser's error event tells no more than onclose. @type {WebSocketLike["onerror"]} */
  onerror = null;
  /** @type {WebSocket | null} */
  #socket = null;
  #closed = false;

  /**
   * @param {Network} network
   * @param {string} url
   * @param {string} [protocols]
   */
  constructor(network, url, protocols) {
    this.url = url;
    if (!network.up) {
      setTimeout(() => this.break()); // later: without a network, a browser's WebSocket too fails after its constructor has returned
      return;
    }
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    network.sockets.add(this);
    socket.onopen = (event) => (this.#closed ? socket.close() : this.onopen?.(event));
    socket.onmessage = (event) => this.#closed || this.onmessage?.(event);
    socket.onclose = (event) => {
      network.sockets.delete(this);
      if (!this.#closed) this.onclose?.(event);
      this.#closed = true;
    };
  }

  /** @param {string} data */
  send(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  /** @param {number} [code] */
  close(code) {
    this.#closed = true;
    // onopen closes a socket that is still connecting: if it were closed earlier, browsers would write a warning to the
    // console.
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.close(code);
  }

  /** Breaks the connection: code 1006, without a close frame. */
  break() {
    if (this.#closed) return;
    this.close();
    this.onclose?.({ code: 1006 });
  }
}

export class Network {
  up = true;
  /** The sockets that are open. @type {Set<NetworkSocket>} */
  sockets = new Set();
  #outage = new AbortController();

  /** @param {boolean} up */
  setUp(up) {
    this.up = up;
    if (up) {
      this.#outage = new AbortController();
      return;
    }
    this.#outage.abort(new TypeError("the network went down"));
    for (const socket of [...this.sockets]) socket.break();
  }

  /**
   * Breaks the connections to one endpoint of the service.
   * @param {string} path
   */
  break(path) {
    for (const socket of [...this.sockets]) if (socket.url.endsWith(path)) socket.break();
  }

  /**
   * The parts of the library's platform that go through this network.
   * @returns {Pick<Platform, "WebSocket" | "fetch">}
   */
  get platform() {
    const network = this;
    return {
      WebSocket: class extends NetworkSocket {
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
        const signals = [network.#outage.signal, init.signal].filter(Boolean);
        return fetch(url, { ...init, signal: AbortSignal.any(signals) });
      },
    };
  }
}
