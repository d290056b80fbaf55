// A person in the call: how an app uses the library (see start()), and the demo's switches.

/** @import { Events } from "./client/index.js" */
/** @import { Endpoint } from "./endpoint.js" */

import { CallRecord } from "./call-record.js";
import { bindRtc } from "./client/bindings/rtc.js";
import { Refresher } from "./client/index.js";
import { clock, lasted, lifetime } from "./format.js";
import { accessRefused, message, whyEnded, whyLeft } from "./reasons.js";
import { logRenewal, logReports } from "./reports.js";
import { TokenRecord } from "./token-record.js";

/** @typedef {"good" | "bad" | "note" | "act"} Kind "good" kept the call, "bad" harmed it, "note" did neither, "act" was done by a person */
/** @typedef {{at: number, kind: Kind, text: string, detail: string, group: string}} Entry an entry of the timeline. It replaces the newest one if both have the same group, which is not empty */

const retryMs = 2_000;

export class Participant {
  call = new CallRecord();
  token = new TokenRecord();
  /** Null while the visitor has switched the library off. @type {Refresher | null} */
  refresher = null;
  /** @type {Events["ended"] | null} */
  ended = null;
  role = "publisher";
  sending = false;
  refusing = false;
  revokedUntil = 0; // Unix seconds
  /** Called with each entry of the timeline. @type {(entry: Entry) => void} */
  onentry = () => {};
  onchange = () => {};
  /** Settles when the last join or renewal is complete, so that they run one at a time. @type {Promise<unknown>} */
  #joining = Promise.resolve();
  #clock = () => Date.now();
  #wantedRole = "publisher";
  #retryTimer = 0;

  /** @param {{name: string, uid: number, appId: string, channel: string, ttl: number | undefined, endpoint: Endpoint}} parts */
  constructor({ name, uid, appId, channel, ttl, endpoint }) {
    this.name = name;
    this.uid = uid;
    this.appId = appId;
    this.channel = channel;
    this.ttl = ttl;
    this.endpoint = endpoint;
    endpoint.client.on("connection-state-change", (/** @type {string} */ state, /** @type {string} */ before, /** @type {string} */ reason) => {
      this.#connectionChanged(state, before, reason);
    });
  }

  /** Opens a session, or resumes the session from before a reload, and joins the call. */
  start() {
    const { channel, uid, ttl, endpoint: { client, network } } = this;

    const refresher = new Refresher({ url: new URL(".", location.href).href, rtc: { channel, uid, role: "publisher" }, ttl, platform: network.platform });
    this.#listen(refresher);
    bindRtc(refresher, client, { rejoin: (token) => this.#join(token, refresher) });
    refresher.on("ended", ({ reason }) => accessRefused.has(reason) && void client.leave());
    void this.#enter(refresher);
  }

  /** Stops the library. The call goes on without it, and the service keeps the session for some time. */
  stop() {
    const { refresher } = this;
    this.refresher = null; // set to null before close(), so that the last events are ignored
    refresher?.close();
    this.onchange();
  }

  /** Ends the session, and leaves the call. */
  leave() {
    const { refresher } = this;
    this.refresher = null;
    refresher?.leave();
    void this.endpoint.client.leave();
  }

  /**
   * Leaves, and starts again with another token lifetime.
   * @param {number} ttl seconds
   */
  restart(ttl) {
    this.ttl = ttl;
    this.log("act", `Tokens last ${lifetime(ttl)} from now on`, "leaves, and joins again with refresher on");
    this.leave();
    this.#wantedRole = "publisher";
    this.start();
  }

  /**
   * Joins with the first token, unless the binding has already joined.
   * @param {Refresher} refresher
   */
  async #enter(refresher) {
    clearTimeout(this.#retryTimer);
    try {
      const token = await refresher.token("rtc");
      if (this.endpoint.client.connectionState === "DISCONNECTED") await this.#join(token, refresher);
    } catch (error) {
      if (refresher.state === "ended") return; // the event "ended" has given the reason
      this.call.reason = `the edge did not let ${this.name} in (${message(error)})`;
      this.log("bad", "Not admitted", this.call.reason, "not admitted");
      this.#retryTimer = setTimeout(() => this.#enter(refresher), retryMs);
    }
  }

  /**
   * Joins the call, or renews the token if the client has joined before.
   * @param {string} token
   * @param {Refresher} refresher
   */
  #join(token, refresher) {
    const { appId, channel, uid, endpoint: { client } } = this;
    const joining = this.#joining.then(async () => {
      if (refresher.state === "ended") throw new Error("the session is over");
      if (client.connectionState === "DISCONNECTED") await client.join(appId, channel, token, uid);
      else await client.renewToken(token);
    });
    this.#joining = joining.catch(() => {}); // this promise only keeps the order: the caller handles the rejection
    return joining;
  }

  now() {
    return this.#clock();
  }

  /** The remaining life of the current token, in milliseconds. */
  leftMs() {
    return this.token.leftMs(this.now());
  }

  get state() {
    return this.refresher?.state ?? "off";
  }

  // What the visitor does.

  /** @param {boolean} on */
  switchRefresher(on) {
    this.log("act", on ? "Refresher switched on" : "Refresher switched off", on ? "" : "the SDK gets no token any more");
    if (on) this.start();
    else this.stop();
  }

  /** @param {boolean} up */
  switchNetwork(up) {
    this.log("act", up ? "Network is back" : "Network goes down", up ? "" : "both to the service and to the edge");
    this.endpoint.network.setUp(up);
    if (up) this.refresher?.wake();
    this.onchange();
  }

  /** @param {boolean} on */
  switchRefusal(on) {
    this.log("act", on ? "The SDK refuses tokens from now on" : "The SDK takes tokens again");
    this.endpoint.setRefusing?.(on);
    this.refusing = on;
    this.onchange();
  }

  killSocket() {
    this.log("act", "WebSocket killed", "without a close frame: code 1006");
    this.endpoint.network.break("/v1/ws");
  }

  joinAgain() {
    this.log("act", "Join again", "a new session");
    this.stop();
    this.#wantedRole = "publisher";
    this.start();
  }

  /**
   * Starts or stops sending, by the new role. The next tokens also have that role.
   * @param {string} role
   */
  async wantRole(role) {
    this.#wantedRole = role;
    await this.#updateSending();
  }

  // Changes of the state of the call.

  /**
   * @param {string} state of the SDK's connection
   * @param {string} before
   * @param {string} [reason]
   */
  #connectionChanged(state, before, reason) {
    if (state === "CONNECTED") this.#joined();
    else if (state === "RECONNECTING") this.#cutOff();
    else if (state === "DISCONNECTED" && before !== "CONNECTING") this.#left(reason);
    void this.#updateSending();
    this.onchange();
  }

  #joined() {
    const returns = this.call.state === "reconnecting";
    const awayMs = this.call.joined(this.now());
    if (returns) this.log("good", "Back at the edge", `by itself, after ${lasted(awayMs)}`);
    else this.log("good", awayMs ? "Rejoined the call" : "Joined the call", awayMs ? `after ${lasted(awayMs)}` : "");
  }

  #cutOff() {
    this.call.cutOff(this.now(), this.endpoint.network.up ? "the connection to the edge broke" : "the network is down");
    this.log("bad", "Cut off from the edge", "it comes back by itself while its token lasts");
  }

  /** @param {string} [reason] as in the SDK's ConnectionDisconnectedReason */
  #left(reason) {
    const why = whyLeft(this, reason);
    const outcome = reason !== "LEAVE" ? "lost" : this.ended ? "over" : "";
    this.call.left(this.now(), why, outcome, reason === "TOKEN_EXPIRE");
    if (reason === "LEAVE") this.log("note", "Left the call");
    else this.log("bad", reason === "UID_BANNED" ? "Removed by the edge" : "Dropped by the edge", why);
    // After an expired token, the binding joins the call again. After any other loss that the user did not
    // cause, this code joins again.
    if (!["LEAVE", "TOKEN_EXPIRE", "UID_BANNED"].includes(reason ?? "") && this.refresher) void this.#enter(this.refresher);
  }

  /** Sends the picture if the person is in the call and the token allows it. */
  async #updateSending() {
    const { endpoint } = this;
    if (this.call.state !== "in") {
      endpoint.stop();
      this.sending = false;
      return;
    }
    let [sends, why] = [false, "the token does not allow to publish"];
    try {
      sends = await endpoint.publish(this.#wantedRole);
    } catch (error) {
      why = message(error);
    }
    if (this.call.state !== "in") return;
    if (this.sending && !sends) this.log("note", "Sends nothing any more", why);
    this.sending = sends;
    this.role = sends ? "publisher" : "subscriber";
    this.onchange();
  }

  // The library's events.

  /** @param {Refresher} refresher */
  #listen(refresher) {
    this.refresher = refresher;
    this.ended = null;
    this.#clock = () => refresher.now();
    this.onchange();
    logReports(this, refresher);
    refresher.on("renewed", (renewal) => this.#renewed(refresher, renewal));
    refresher.on("ended", (ended) => this.#ended(refresher, ended));
  }

  /**
   * @param {Refresher} refresher
   * @param {Events["ended"]} ended
   */
  #ended(refresher, ended) {
    if (this.refresher !== refresher) return; // events of a Refresher that the demo has stopped
    this.ended = ended;
    const until = ended.accessEndsAt ? `; tokens work until ${clock(ended.accessEndsAt * 1000)}` : "";
    this.log("bad", "Session ended", `${ended.reason}${until}`);
    if (this.call.state === "out") {
      this.call.reason = whyEnded(ended.reason);
      this.call.outcome ||= "over";
    }
    this.call.stopLosing(this.now());
    this.onchange();
  }

  /**
   * @param {Refresher} refresher
   * @param {Events["renewed"]} renewal
   */
  #renewed(refresher, renewal) {
    const { marginMs, expiresAt, rejoin, services } = renewal;
    // If the library was switched on during the call, it does not know the previous token and reports no
    // margin. But this page knows that token, so it computes the margin.
    const leadMs = Number.isFinite(marginMs) ? marginMs : this.call.state === "in" ? this.leftMs() : 0;
    const inTime = !rejoin && services.length > 0; // if the list is empty, no SDK has accepted the token
    logRenewal(this, renewal, inTime ? leadMs : 0);
    this.token.replaced(expiresAt, this.now(), inTime ? leadMs : 0);
    void this.#showToken(refresher);
    void this.#updateSending();
    this.onchange();
  }

  /** @param {Refresher} refresher */
  async #showToken(refresher) {
    try {
      this.token.value = await refresher.token("rtc");
      this.onchange();
    } catch (error) {
      // If the session has ended, the event "ended" has given the reason.
      if (refresher.state !== "ended") throw error;
    }
  }

  /**
   * Adds an entry to the timeline.
   * @param {Kind} kind
   * @param {string} text
   * @param {string} [detail]
   * @param {string} [group]
   */
  log(kind, text, detail = "", group = "") {
    this.onentry({ at: Date.now(), kind, text, detail, group });
  }
}
