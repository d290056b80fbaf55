// A stand-in for the client of agora-rtc-sdk-ng: the same surface and behaviour
// where tokens are concerned, over a WebSocket to a stand-in for Agora's edge.
// The tokens are real, and that edge admits and drops by nothing else.

/** @import { Platform } from "./client/platform.js" */

/** @typedef {"DISCONNECTED" | "CONNECTING" | "CONNECTED" | "RECONNECTING"} State */
/** @typedef {{channel: string, user: string, token: string, admitted: string}} Seat the place in a call: the token to use, and the one that the edge knows */
/** @typedef {{id: number, ok: boolean, publish?: boolean, code?: number, error?: string}} Answer */

/** The edge's code for a token that has run out. */
const expired = 109;
const retryMs = 1_000;

export class SdkError extends Error {
  /**
   * @param {string} code as the SDK's errors have it
   * @param {string} message
   * @param {number} [number] the edge's own code, if it has refused
   */
  constructor(code, message, number = 0) {
    super(message);
    this.name = "SdkError";
    this.code = code;
    this.number = number;
  }
}

export class StandIn {
  /** @type {State} */
  connectionState = "DISCONNECTED";
  /** Whether the token in use lets its holder send video. The SDK itself has no such word: there a publish() fails. */
  mayPublish = false;
  /** Has renewToken reject, as an SDK does now and then. */
  refuses = false;
  #url;
  #WebSocket;
  /** @type {Map<string, Set<(...details: any[]) => void>>} */
  #listeners = new Map();
  /** @type {Seat | null} */
  #seat = null;
  /** @type {Link | null} */
  #link = null;

  /**
   * @param {string} url of the edge
   * @param {Platform["WebSocket"]} WebSocket
   */
  constructor(url, WebSocket) {
    this.#url = url;
    this.#WebSocket = WebSocket;
  }

  /**
   * @param {string} event
   * @param {(...details: any[]) => void} listener
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
  }

  /**
   * @param {string} event
   * @param {(...details: any[]) => void} listener
   */
  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
  }

  /**
   * @param {string} appId the edge serves one only
   * @param {string} channel
   * @param {string} token
   * @param {number} uid
   */
  async join(appId, channel, token, uid) {
    if (this.#seat) throw new SdkError("INVALID_OPERATION", "join: already in a call");
    const seat = { channel, user: String(uid), token, admitted: "" };
    this.#seat = seat;
    this.#become("CONNECTING");
    try {
      await this.#admit(seat, token);
    } catch (error) {
      if (this.#seat === seat) this.#out("SERVER_ERROR");
      throw error;
    }
    return uid;
  }

  async leave() {
    if (this.#seat) this.#out("LEAVE");
  }

  /** @param {string} token */
  async renewToken(token) {
    const seat = this.#seat;
    if (!seat) throw new SdkError("INVALID_OPERATION", "renewToken should not be called before user join");
    if (this.refuses) throw new SdkError("UNEXPECTED_RESPONSE", "renew token failed: the demo has the SDK refuse");
    const before = seat.token;
    seat.token = token;
    try {
      while (this.connectionState !== "CONNECTED") {
        await this.#change();
        if (this.#seat !== seat) throw new SdkError("INVALID_OPERATION", "the client has left the call");
      }
      if (seat.admitted === token) return; // by the way back
      const answer = await this.#ask("renew", "UNEXPECTED_RESPONSE", { token });
      seat.admitted = token;
      this.mayPublish = answer.publish === true;
    } catch (error) {
      if (seat.token === token) seat.token = before;
      throw error;
    }
  }

  /**
   * Shows the edge the token.
   * @param {Seat} seat
   * @param {string} token
   */
  async #admit(seat, token) {
    this.#link?.close();
    const link = new Link(this.#WebSocket, this.#url, (event) => this.#link === link && this.#heard(event));
    this.#link = link;
    const { channel, user } = seat;
    const answer = await this.#ask("join", "CAN_NOT_GET_GATEWAY_SERVER", { channel, user, token });
    if (this.#seat !== seat) throw new SdkError("OPERATION_ABORTED", "the client has left meanwhile");
    seat.admitted = token;
    this.mayPublish = answer.publish === true;
    void link.lost.then(() => {
      if (this.#link === link) void this.#return(seat);
    });
    this.#become("CONNECTED");
  }

  /**
   * The network broke: comes back by itself, with the token that there is.
   * @param {Seat} seat
   */
  async #return(seat) {
    this.#become("RECONNECTING");
    while (this.#seat === seat) {
      const { token } = seat;
      try {
        await this.#admit(seat, token);
        return;
      } catch (error) {
        const refused = error instanceof SdkError && error.number;
        if (refused && this.#seat === seat && seat.token === token) {
          return this.#out(refused === expired ? "TOKEN_EXPIRE" : "SERVER_ERROR");
        }
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }

  /** @param {{event: string, reason?: string}} message */
  #heard({ event, reason }) {
    if (event === "token-privilege-will-expire") this.#emit(event);
    else if (event === "token-privilege-did-expire") this.#out("TOKEN_EXPIRE");
    else if (event === "connection-state-change") this.#out(reason ?? "SERVER_ERROR");
  }

  /**
   * Out of the call.
   * @param {string} reason as the SDK has them
   */
  #out(reason) {
    const link = this.#link;
    this.#seat = this.#link = null;
    this.mayPublish = false;
    if (reason === "LEAVE" && this.connectionState === "CONNECTED") void link?.ask("leave", {}).then(() => link.close());
    else link?.close();
    this.#become("DISCONNECTED", reason);
    if (reason === "TOKEN_EXPIRE") this.#emit("token-privilege-did-expire");
  }

  /**
   * @param {string} op
   * @param {string} code of the error, if it is refused
   * @param {object} fields
   */
  async #ask(op, code, fields) {
    const answer = await this.#link?.ask(op, fields);
    if (!answer) throw new SdkError("WS_DISCONNECT", "the connection to the edge broke");
    if (!answer.ok) throw new SdkError(code, answer.error ?? "refused", answer.code);
    return answer;
  }

  /**
   * @param {State} state
   * @param {string} [reason]
   */
  #become(state, reason) {
    const previous = this.connectionState;
    this.connectionState = state;
    if (state !== previous) this.#emit("connection-state-change", state, previous, reason);
  }

  /** The next change of the connection's state. */
  #change() {
    return new Promise((resolve) => {
      const listener = () => {
        this.off("connection-state-change", listener);
        resolve(undefined);
      };
      this.on("connection-state-change", listener);
    });
  }

  /**
   * @param {string} event
   * @param {any[]} details
   */
  #emit(event, ...details) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...details);
  }
}

/** One connection to the edge: a question, its answer, and events in between. */
class Link {
  #socket;
  #opened;
  #asked = 0;
  /** @type {Map<number, (answer?: Answer) => void>} */
  #waiting = new Map();
  /** @type {Promise<void>} is over when the connection is, by whatever but close() */
  lost;

  /**
   * @param {Platform["WebSocket"]} WebSocket
   * @param {string} url
   * @param {(event: {event: string, reason?: string}) => void} heard
   */
  constructor(WebSocket, url, heard) {
    const socket = new WebSocket(url, /** @type {any} */ (undefined));
    this.#socket = socket;
    this.#opened = new Promise((resolve) => (socket.onopen = resolve));
    this.lost = new Promise((resolve) => {
      socket.onclose = () => {
        this.#forget();
        resolve();
      };
    });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.event) return heard(message);
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    };
  }

  /**
   * The answer; undefined if the connection broke before.
   * @param {string} op
   * @param {object} fields
   * @returns {Promise<Answer | undefined>}
   */
  ask(op, fields) {
    const id = ++this.#asked;
    void this.#opened.then(() => this.#socket.send(JSON.stringify({ op, leg: "rtc", ...fields, id })));
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  close() {
    this.#socket.close();
    this.#forget();
  }

  #forget() {
    for (const answer of this.#waiting.values()) answer();
    this.#waiting.clear();
  }
}
