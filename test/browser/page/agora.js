// A simulated Agora edge inside the page, for the published AgoraRTC. AgoraRTC's request for a gateway goes to
// the test's own site, and its WebSocket ends in this module. The edge admits every client and records every
// token. A test can make the edge refuse a token, or report that a token expired. The edge sends no media.

const agora = /\.(agora\.io|sd-rtn\.com|rtnsvc\.com|rtesvc\.com)$/;

export class Edge {
  /**
   * The tokens of all joins and renewals that this simulated edge has answered.
   * @type {{by: "join" | "renew", token: string}[]}
   */
  tokens = [];
  /** @type {(by: "join" | "renew", token: string) => void} */
  ontoken = () => {};
  /** The error code with which this simulated edge refuses renewals; 0 means that it accepts them. */
  refuses = 0;
  /** @type {Socket | null} the connection of the client that has joined last */
  #socket = null;

  /**
   * Redirects the page's requests for Agora's servers to this simulated edge. A page can have only one such
   * edge.
   */
  constructor() {
    const edge = this;
    const { open } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.open = function (/** @type {string} */ method, /** @type {string | URL} */ url, /** @type {any[]} */ ...rest) {
      return /** @type {any} */ (open).call(this, method, home(url), ...rest);
    };
    const { fetch, WebSocket } = globalThis;
    globalThis.fetch = (url, init) => fetch(url instanceof Request ? new Request(home(url.url), url) : home(url), init);
    globalThis.WebSocket = new Proxy(WebSocket, {
      construct: (target, [url, ...rest]) => (agora.test(new URL(url).hostname) ? new Socket(url, edge) : new target(url, ...rest)),
    });
  }

  /** @param {Socket} socket @param {{_id?: string, _type: string, _message: any}} request */
  request(socket, { _id, _type, _message }) {
    /** @type {["join" | "renew", string] | null} */
    const token = _type === "join_v3" ? ["join", _message.channel_key] : _type === "renew_token" ? ["renew", _message.token] : null;
    if (token?.[0] === "renew" && this.refuses) {
      return socket.says({ _id, _result: "failed", _message: { error_code: this.refuses, error_str: "refused by the test" } });
    }
    if (_id) socket.says({ _id, _result: "success", _message: token?.[0] === "join" ? joined(_message) : {} });
    if (!token) return;
    const [by, text] = token;
    if (by === "join") this.#socket = socket;
    this.tokens.push({ by, token: text });
    this.ontoken(by, text);
  }

  /** Resolves with the tokens when there are at least `count`. @param {number} count */
  taken(count) {
    return new Promise((resolve) => {
      this.ontoken = () => this.tokens.length >= count && resolve(this.tokens);
      this.ontoken("join", "");
    });
  }

  warns() {
    this.#socket?.says({ _type: "on_token_privilege_will_expire", _message: {} });
  }

  expires() {
    this.#socket?.says({ _type: "on_token_privilege_did_expire", _message: {} });
  }
}

/**
 * Returns the URL on this site that replaces a URL of Agora, and any other URL unchanged.
 * @param {string | URL} url
 */
function home(url) {
  const { hostname, pathname, search } = new URL(url, location.href);
  return agora.test(hostname) ? `${location.origin}/agora${pathname}${search}` : url;
}

/** The answer to a join. Its ICE and DTLS parameters are valid, but belong to no server. @param {any} request */
const joined = ({ ortc }) => ({
  uid: 1001, vid: 1, rejoin_token: "again", attributes: { userAttributes: {} }, peers: [],
  ortc: {
    cname: "edge", rtpCapabilities: ortc.rtpCapabilities,
    iceParameters: { iceUfrag: "abcd", icePwd: "abcdefghijklmnopqrstuvwx", candidates: [] },
    dtlsParameters: { role: "server", fingerprints: [{ algorithm: "sha-256", fingerprint: ortc.dtlsParameters.fingerprints[0].fingerprint }] },
  },
});

/** Replaces the client's WebSocket to Agora's edge: the messages go to the simulated edge in the page. */
class Socket extends EventTarget {
  binaryType = "blob";
  bufferedAmount = 0;
  extensions = "";
  protocol = "";
  readyState = 0;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  onerror = null;
  #edge;

  /** @param {string} url @param {Edge} edge */
  constructor(url, edge) {
    super();
    this.url = url;
    this.#edge = edge;
    queueMicrotask(() => {
      if (this.readyState) return;
      this.readyState = 1;
      this.#emit(new Event("open"));
    });
  }

  /** @param {string | ArrayBuffer} data */
  send(data) {
    if (typeof data === "string") this.#edge.request(this, JSON.parse(data));
  }

  close(code = 1000, reason = "") {
    if (this.readyState > 1) return;
    this.readyState = 3;
    this.#emit(new CloseEvent("close", { code, reason, wasClean: true }));
  }

  /** @param {object} message */
  says(message) {
    queueMicrotask(() => this.readyState === 1 && this.#emit(new MessageEvent("message", { data: JSON.stringify(message) })));
  }

  /** @param {Event} event */
  #emit(event) {
    this.dispatchEvent(event);
    /** @type {any} */ (this)[`on${event.type}`]?.(event);
  }
}

/**
 * The functions by which a scenario causes events of a client.
 * @param {Edge} edge
 * @param {any} client of AgoraRTC
 */
export const events = (edge, client) => ({
  async warns() {
    const heard = new Promise((resolve) => client.once("token-privilege-will-expire", resolve));
    edge.warns();
    await heard;
  },
  async expires() {
    const heard = new Promise((resolve) => client.once("token-privilege-did-expire", resolve));
    edge.expires();
    await heard;
  },
  refuses() {
    edge.refuses = 110; // the error code for a token of another user or channel
    return /^[A-Z_]+$/;
  },
});
