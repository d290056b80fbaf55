// A participant's own network, which the visitor can switch off. It carries only this participant's connections
// to the service and to the simulated Agora edge.

/** @import { Platform, WebSocketLike } from "./client/platform.js" */

/** A WebSocket that breaks with its network. After its close it reports no events. */
class NetworkSocket {
  /** @type {WebSocketLike["onopen"]} */
  onopen = null;
  /** @type {WebSocketLike["onmessage"]} */
  onmessage = null;
  /** @type {WebSocketLike["onclose"]} */
  onclose = null;
  /**
   * Never called, since a browser's error event has no more information than onclose.
   * @type {WebSocketLike["onerror"]}
   */
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
      setTimeout(() => this.break()); // fails after the constructor has returned, as a browser's WebSocket does without a network
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
    // If the socket is still connecting, onopen closes it later, since browsers would write a warning to the
    // console if it were closed now.
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.close(code);
  }

  /** Breaks the connection without a close frame, so that onclose gets code 1006. */
  break() {
    if (this.#closed) return;
    this.close();
    this.onclose?.({ code: 1006 });
  }
}

export class Network {
  up = true;
  /** The open sockets. @type {Set<NetworkSocket>} */
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
