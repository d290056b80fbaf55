// A substitute for the client of agora-rtc-sdk-ng, for development and tests without an Agora account. It has
// the same methods, events and behaviour as far as tokens are concerned, and sends no media. It connects to the
// simulated Agora edge of `refresher demo`, which admits and drops clients by their tokens.

/** @import { Platform } from "./platform.js" */

import { parseUrl } from "./diagnose.js";
import { EdgeConnection } from "./edge-connection.js";

/** @typedef {"DISCONNECTED" | "CONNECTING" | "CONNECTED" | "RECONNECTING"} State */

/**
 * The arguments of join, while the client is in the call.
 * @typedef {object} Membership
 * @property {string} channel
 * @property {string} user
 * @property {string} token the newest token
 * @property {string} admittedBy the token that the simulated edge received last; "" before the edge admitted the client
 */

const retryMs = 1_000;

/**
 * Makes a client. Use it in place of `AgoraRTC.createClient()`.
 * @param {string} service address of `refresher demo`, such as "http://127.0.0.1:8080", with its base path if it has one
 * @param {{WebSocket?: Platform["WebSocket"]}} [platform] by default the browser's WebSocket
 */
export function createClient(service, { WebSocket = globalThis.WebSocket } = {}) {
  return new EdgeClient(`ws${parseUrl(service)}/demo/edge`, WebSocket);
}

/** The error with which methods fail. It has the form of the SDK's errors. */
export class SdkError extends Error {
  /**
   * @param {string} code one of the SDK's error codes
   * @param {string} message
   * @param {number} [edgeCode] the edge's own code; 0 if the edge did not answer
   */
  constructor(code, message, edgeCode = 0) {
    super(message);
    this.name = "SdkError";
    this.code = code;
    this.edgeCode = edgeCode;
  }
}

export class EdgeClient {
  /** @type {State} */
  connectionState = "DISCONNECTED";
  /**
   * Whether the current token allows its holder to publish. The SDK has no such property: its publish() rejects
   * if the token does not allow it.
   */
  mayPublish = false;
  /** Whether renewToken rejects, as the SDK's renewToken sometimes does. The SDK has no such property. */
  refusing = false;
  #url;
  #WebSocket;
  /** @type {Map<string, Set<(...details: any[]) => void>>} */
  #listeners = new Map();
  /** @type {Membership | null} */
  #membership = null;
  /** @type {EdgeConnection | null} */
  #connection = null;

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
   * Joins a call. Resolves with the uid when the simulated edge has admitted the client.
   * @param {string} appId is not sent, since the simulated edge serves only one App ID
   * @param {string} channel
   * @param {string} token
   * @param {number} uid
   */
  async join(appId, channel, token, uid) {
    if (this.#membership) throw new SdkError("INVALID_OPERATION", "join: already in a call");
    const membership = { channel, user: String(uid), token, admittedBy: "" };
    this.#membership = membership;
    this.#setState("CONNECTING");
    try {
      await this.#admit(membership, token);
    } catch (error) {
      if (this.#membership === membership) this.#end("SERVER_ERROR");
      throw error;
    }
    return uid;
  }

  async leave() {
    if (this.#membership) this.#end("LEAVE");
  }

  /** @param {string} token */
  async renewToken(token) {
    const membership = this.#membership;
    if (!membership) throw new SdkError("INVALID_OPERATION", "renewToken should not be called before user join");
    if (this.refusing) throw new SdkError("UNEXPECTED_RESPONSE", "renew token failed: refusing is set");
    const before = membership.token;
    membership.token = token;
    try {
      while (this.connectionState !== "CONNECTED") {
        await this.#nextStateChange();
        if (this.#membership !== membership) throw new SdkError("INVALID_OPERATION", "the client has left the call");
      }
      if (membership.admittedBy === token) return; // a reconnect has already sent this token to the simulated edge
      const answer = await this.#request("renew", "UNEXPECTED_RESPONSE", { token });
      membership.admittedBy = token;
      this.mayPublish = answer.publish === true;
    } catch (error) {
      if (membership.token === token) membership.token = before;
      throw error;
    }
  }

  /**
   * Resolves if the client is in a call and its token allows it to publish. Sends no media.
   * @param {unknown} [_tracks]
   */
  async publish(_tracks) {
    if (this.connectionState !== "CONNECTED") throw new SdkError("INVALID_OPERATION", "publish: join the call first");
    if (!this.mayPublish) throw new SdkError("INVALID_OPERATION", "publish: the token is one of a subscriber");
  }

  /** @param {unknown} [_tracks] */
  async unpublish(_tracks) {}

  /**
   * Connects to the simulated edge, and joins with the token.
   * @param {Membership} membership
   * @param {string} token
   */
  async #admit(membership, token) {
    this.#connection?.close();
    const connection = new EdgeConnection(this.#WebSocket, this.#url, (event) => this.#connection === connection && this.#handleEvent(event));
    this.#connection = connection;
    const { channel, user } = membership;
    const answer = await this.#request("join", "CAN_NOT_GET_GATEWAY_SERVER", { channel, user, token });
    if (this.#membership !== membership) throw new SdkError("OPERATION_ABORTED", "the client has left meanwhile");
    membership.admittedBy = token;
    this.mayPublish = answer.publish === true;
    void connection.lost.then(() => {
      if (this.#connection === connection) void this.#reconnect(membership);
    });
    this.#setState("CONNECTED");
  }

  /**
   * Rejoins with the newest token after the connection broke. The SDK does the same by itself.
   * @param {Membership} membership
   */
  async #reconnect(membership) {
    this.#setState("RECONNECTING");
    while (this.#membership === membership) {
      const { token } = membership;
      try {
        await this.#admit(membership, token);
        return;
      } catch (error) {
        if (!(error instanceof SdkError)) throw error;
        const refused = error.edgeCode; // 0 if the network is down: the next attempt may reach the edge
        // The real SDK gives this reason for every refusal, even if the token has not expired but has a wrong
        // signature.
        if (refused && this.#membership === membership && membership.token === token) return this.#end("TOKEN_EXPIRE");
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }

  /** @param {{event: string, reason?: string}} message */
  #handleEvent({ event, reason }) {
    if (event === "token-privilege-will-expire") this.#emit(event);
    else if (event === "token-privilege-did-expire") this.#end("TOKEN_EXPIRE");
    else if (event === "connection-state-change") this.#end(reason ?? "SERVER_ERROR");
  }

  /**
   * Ends the call.
   * @param {string} reason as in the SDK's ConnectionDisconnectedReason
   */
  #end(reason) {
    const connection = this.#connection;
    this.#membership = this.#connection = null;
    this.mayPublish = false;
    if (reason === "LEAVE" && this.connectionState === "CONNECTED") void connection?.request("leave", {}).then(() => connection.close());
    else connection?.close();
    this.#setState("DISCONNECTED", reason);
    if (reason === "TOKEN_EXPIRE") this.#emit("token-privilege-did-expire");
  }

  /**
   * @param {string} op
   * @param {string} code of the error, if the edge refuses
   * @param {object} fields
   */
  async #request(op, code, fields) {
    const connection = this.#connection;
    const answer = await connection?.request(op, fields);
    if (!answer && connection && !connection.reached) {
      throw new SdkError("WS_DISCONNECT", `no connection to the stand-in for Agora's edge at ${this.#url}: is "refresher demo" there, with this page's origin in --allowed-origins?`);
    }
    if (!answer) throw new SdkError("WS_DISCONNECT", "the connection to the edge broke");
    if (!answer.ok) throw new SdkError(code, answer.error ?? "refused", answer.code);
    return answer;
  }

  /**
   * @param {State} state
   * @param {string} [reason]
   */
  #setState(state, reason) {
    const previous = this.connectionState;
    this.connectionState = state;
    if (state !== previous) this.#emit("connection-state-change", state, previous, reason);
  }

  /** Resolves when connectionState changes. */
  #nextStateChange() {
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
