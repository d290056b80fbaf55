// A network between a client and the service. A test can break it.

import { connect, createServer } from "node:net";

/**
 * Forwards TCP connections to a service.
 *
 * - "up" forwards;
 * - "down" resets all connections and refuses new ones;
 * - "silent" drops every byte and keeps connections open, as when the far end has lost its network;
 * - "no-upgrade" answers WebSocket handshakes with 403, as some proxies do, and
 *   lets HTTP through.
 */
export class Network {
  address = "";
  #state = "up";
  #server;
  #pairs = new Set();

  /** @param {() => string} to returns the service's address; called for each connection */
  constructor(to) {
    this.#server = createServer((client) => this.#accept(client, to()));
  }

  get url() {
    return `http://${this.address}`;
  }

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.address = `127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** @param {"up" | "down" | "silent" | "no-upgrade"} state */
  set(state) {
    const silent = this.#state === "silent";
    this.#state = state;
    // The connections of a network that was silent have lost bytes, so they cannot go on: they are reset.
    if (state === "down" || state === "no-upgrade" || silent) this.cut();
  }

  cut() {
    for (const pair of this.#pairs) pair.forEach(reset);
  }

  close() {
    this.cut();
    return new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client, to) {
    client.on("error", () => {}); // resets are expected, so errors are ignored
    if (this.#state === "down") return reset(client);
    const [host, port] = to.split(":");
    const service = connect(Number(port), host);
    service.on("error", () => reset(client));
    const pair = [client, service];
    this.#pairs.add(pair);
    client.on("close", () => {
      this.#pairs.delete(pair);
      service.destroy();
    });
    service.on("close", () => this.#state !== "silent" && client.destroy());
    client.on("data", (data) => {
      if (this.#state === "silent") return;
      if (this.#state === "no-upgrade" && /^upgrade: websocket/im.test(data.toString("latin1"))) {
        return client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      }
      service.write(data);
    });
    service.on("data", (data) => this.#state !== "silent" && client.write(data));
  }
}

/**
 * Resets a connection, or closes it if it has already sent its FIN: if Node.js 20 resets a socket whose FIN is
 * on its way, the handle stays open (EINVAL), and the process never exits and uses the processor.
 * @param {import("node:net").Socket} socket
 */
export function reset(socket) {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
