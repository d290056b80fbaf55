// One person in the call: what an app does with the library, and the account of
// it that the page gives. start() has all of the former.

/** @import { Events } from "./client/index.js" */
/** @import { Seat } from "./seats.js" */

import { bindRtc } from "./client/bindings/rtc.js";
import { Refresher } from "./client/index.js";
import { brief, clock, lasted, lifetime, seconds } from "./format.js";

/** @typedef {"in" | "out" | "reconnecting"} Call */
/** @typedef {"good" | "bad" | "note" | "act"} Kind what it did to the call: kept it, harmed it, neither; or somebody's doing */
/** @typedef {{at: number, kind: Kind, text: string, detail: string, again: string}} Entry again: the newest entry with the same word is replaced */

/** Reasons after which the call is to be left at once: its tokens go on working for a while. */
const barred = new Set(["revoked", "denied", "forbidden"]);
const retryMs = 2_000;

export class Participant {
  /** @type {Refresher | null} null: switched off */
  refresher = null;
  /** @type {Events["ended"] | null} why the last session is over */
  ended = null;
  /** @type {Call} */
  call = "out";
  /** Unix milliseconds; 0: not yet. */
  inSince = 0;
  outSince = 0;
  /** Why the person is not in the call, as the end of a sentence. */
  why = "";
  /** What became of the call of who is out. @type {"" | "lost" | "over"} by a token that was not renewed, or by somebody's will */
  fate = "";
  role = "publisher";
  sending = false;
  refusing = false;
  /** The token in use, when it ends (Unix seconds), and how long it had to live when it came. */
  token = "";
  expiresAt = 0;
  livedMs = 0;
  renewals = 0;
  tightestMs = Infinity;
  drops = 0;
  revokedUntil = 0; // Unix seconds
  /** Is told of everything. @type {(entry: Entry) => void} */
  ontell = () => {};
  /** Is called when something has changed. */
  onchange = () => {};
  #turn = Promise.resolve();
  #clock = () => Date.now();
  #wanted = "publisher"; // the role that the tokens should have
  #dropped = false; // the edge has thrown the person out for their token
  #lostMs = 0; // until the person was last back
  #retry = 0;

  /** @param {{name: string, uid: number, appId: string, channel: string, ttl: number | undefined, seat: Seat}} parts */
  constructor({ name, uid, appId, channel, ttl, seat }) {
    this.name = name;
    this.uid = uid;
    this.appId = appId;
    this.channel = channel;
    this.ttl = ttl;
    this.seat = seat;
    seat.client.on("connection-state-change", (/** @type {string} */ state, /** @type {string} */ before, /** @type {string} */ reason) => {
      this.#moved(state, before, reason);
    });
  }

  /** Opens a session, or takes up the one from before a reload, and joins the call. */
  start() {
    const { channel, uid, ttl, seat: { client, network } } = this;

    const refresher = new Refresher({ url: new URL(".", location.href).href, rtc: { channel, uid, role: "publisher" }, ttl, platform: network.platform });
    this.#follow(refresher);
    bindRtc(refresher, client, { rejoin: (token) => this.#join(token, refresher) });
    refresher.on("ended", ({ reason }) => barred.has(reason) && void client.leave());
    void this.#enter(refresher);
  }

  /** Stops the library: an app without it. The session waits for a while. */
  stop() {
    const { refresher } = this;
    this.refresher = null; // so that its end is no news
    refresher?.close();
    this.onchange();
  }

  /** Ends the session, and leaves the call. */
  leave() {
    const { refresher } = this;
    this.refresher = null;
    refresher?.leave();
    void this.seat.client.leave();
  }

  /**
   * Begins anew, with tokens that live so long.
   * @param {number} ttl seconds
   */
  restart(ttl) {
    this.ttl = ttl;
    this.#tell("act", `Tokens last ${lifetime(ttl)} from now on`, "leaves, and joins again with refresher on");
    this.leave();
    this.#wanted = "publisher";
    this.start();
  }

  /**
   * Joins with the first token, unless the library was quicker.
   * @param {Refresher} refresher
   */
  async #enter(refresher) {
    clearTimeout(this.#retry);
    try {
      const token = await refresher.token("rtc");
      if (this.seat.client.connectionState === "DISCONNECTED") await this.#join(token, refresher);
    } catch (error) {
      if (refresher.state === "ended") return; // its listeners tell why
      this.why = `the edge did not let ${this.name} in (${error instanceof Error ? error.message : error})`;
      this.#tell("bad", "Not admitted", this.why, "not admitted");
      this.#retry = setTimeout(() => this.#enter(refresher), retryMs);
    }
  }

  /**
   * Joins the call; or renews, where another way in was quicker.
   * @param {string} token
   * @param {Refresher} refresher
   */
  #join(token, refresher) {
    const { appId, channel, uid, seat: { client } } = this;
    const joining = this.#turn.then(async () => {
      if (refresher.state === "ended") throw new Error("the session is over");
      if (client.connectionState === "DISCONNECTED") await client.join(appId, channel, token, uid);
      else await client.renewToken(token);
    });
    this.#turn = joining.catch(() => {}); // whoever asked is told
    return joining;
  }

  /** The service's clock, in Unix milliseconds. */
  now() {
    return this.#clock();
  }

  /** Milliseconds that the token in use has left. */
  leftMs() {
    return Math.max(0, this.expiresAt * 1000 - this.now());
  }

  /** Milliseconds of the call that were lost to tokens that ran out. */
  lostMs() {
    return this.#lostMs + (this.#dropped ? this.now() - this.outSince : 0);
  }

  /** What comes now is not lost to a token. */
  #settle() {
    this.#lostMs = this.lostMs();
    this.#dropped = false;
  }

  get state() {
    return this.refresher?.state ?? "off";
  }

  // What a visitor does to it.

  /** @param {boolean} on */
  switchRefresher(on) {
    this.#tell("act", on ? "Refresher switched on" : "Refresher switched off", on ? "" : "no token is handed over any more");
    if (on) this.start();
    else this.stop();
  }

  /** @param {boolean} up */
  switchNetwork(up) {
    this.#tell("act", up ? "Network is back" : "Network goes down", up ? "" : "both to the service and to the edge");
    this.seat.network.set(up);
    if (up) this.refresher?.wake();
    this.onchange();
  }

  /** @param {boolean} refuses */
  switchRefusal(refuses) {
    this.#tell("act", refuses ? "The SDK refuses tokens from now on" : "The SDK takes tokens again", "");
    this.seat.refuse?.(refuses);
    this.refusing = refuses;
    this.onchange();
  }

  killSocket() {
    this.#tell("act", "WebSocket killed", "without a farewell: close code 1006");
    this.seat.network.kill("/v1/ws");
  }

  joinAgain() {
    this.#tell("act", "Join again", "a new session");
    this.stop();
    this.#wanted = "publisher";
    this.start();
  }

  /** An operator gives, or takes, the right to publish. */
  async changeRole() {
    const role = this.role === "publisher" ? "subscriber" : "publisher";
    this.#tell("act", role === "publisher" ? "Operator: promote to publisher" : "Operator: make audience", "new tokens are pushed at once");
    const answer = await this.#operate("PATCH", `v1/sessions/${this.refresher?.session}`, { rtc: { role } });
    if (!answer) return;
    this.#wanted = role;
    await this.#send();
  }

  /** An operator ends the session, and refuses its return. */
  async revoke() {
    const { channel, uid } = this;
    this.#tell("act", "Operator: revoke", "for 60 s");
    const answer = await this.#operate("POST", "v1/revocations", { channel, uid, for: 60 });
    this.revokedUntil = answer?.until ?? 0;
    this.onchange();
  }

  /**
   * An operator's request to the service; it does not go by the person's own network.
   * @param {string} method
   * @param {string} path
   * @param {object} body
   */
  async #operate(method, path, body) {
    try {
      const response = await fetch(path, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
      const answer = await response.json();
      if (response.ok) return answer;
      this.#tell("bad", "The service refused it", String(answer.error));
    } catch {
      this.#tell("bad", "The service does not answer", "");
    }
    return null;
  }

  // What becomes of it.

  /**
   * The client's state changed.
   * @param {string} state
   * @param {string} before
   * @param {string} [reason]
   */
  #moved(state, before, reason) {
    const now = this.now();
    if (state === "CONNECTED") {
      if (this.call === "out") this.#entered(now);
      else this.#tell("good", "Back at the edge", `by itself, after ${lasted(now - this.outSince)}`);
      this.call = "in";
      this.why = "";
    } else if (state === "RECONNECTING") {
      this.call = "reconnecting";
      this.outSince = now;
      this.why = this.seat.network.up ? "the line to the edge broke" : "the network is down";
      this.#tell("bad", "Cut off from the edge", "it comes back by itself while its token lasts");
    } else if (state === "DISCONNECTED" && before !== "CONNECTING") {
      this.#left(now, reason);
    }
    void this.#send();
    this.onchange();
  }

  /** @param {number} now */
  #entered(now) {
    const out = this.outSince ? now - this.outSince : 0;
    this.#settle();
    this.fate = "";
    this.inSince = now;
    this.#tell("good", out ? "Rejoined the call" : "Joined the call", out ? `after ${lasted(out)}` : "");
  }

  /**
   * @param {number} now
   * @param {string} [reason]
   */
  #left(now, reason) {
    const cutOff = this.call === "reconnecting";
    this.call = "out";
    if (!cutOff) this.outSince = now;
    this.fate = reason !== "LEAVE" ? "lost" : this.ended ? "over" : "";
    if (reason === "TOKEN_EXPIRE") {
      this.drops++;
      this.#dropped = true;
      this.why = this.#whyExpired(cutOff);
      this.#tell("bad", "Dropped by the edge", this.why);
    } else if (reason === "UID_CONFLICT") {
      this.why = "somebody else joined with the same uid";
      this.#tell("bad", "Thrown out by the edge", this.why);
    } else if (reason === "LEAVE") {
      this.why = this.ended ? whyEnded(this.ended.reason) : `${this.name} left`;
      this.#tell("note", "Left the call", "");
    } else {
      this.why = "the edge did not take the token";
      this.#tell("bad", "Dropped by the edge", this.why);
      if (this.refresher) void this.#enter(this.refresher);
    }
  }

  /** @param {boolean} cutOff */
  #whyExpired(cutOff) {
    if (!this.refresher) return "the token ran out, and nobody renewed it";
    if (cutOff) return "the token ran out while the network was down";
    if (this.refusing) return "the token ran out, and the SDK had refused those that came";
    if (this.ended) return "the token ran out, and the session was over";
    return this.state === "live" ? "the token ran out" : "the token ran out while the service was out of reach";
  }

  /** Sends the picture if the person is in the call and may. */
  async #send() {
    const { seat } = this;
    if (this.call !== "in") {
      seat.stop();
      this.sending = false;
      return;
    }
    const may = await seat.publish(this.#wanted);
    if (this.call !== "in") return;
    if (this.sending && !may) this.#tell("note", "The picture stops", "the token does not allow to publish");
    this.sending = may;
    this.role = may ? "publisher" : "subscriber";
    this.onchange();
  }

  /** @param {Refresher} refresher */
  #follow(refresher) {
    this.refresher = refresher;
    this.ended = null;
    this.#clock = () => refresher.now();
    this.onchange();
    refresher.on("state", ({ state, previous }) => {
      if (state === "live") this.#tell("note", previous === "away" ? "Connected to the service again" : "Connected to the service", "");
      this.onchange();
    });
    refresher.on("renewed", (renewal) => this.#renewed(refresher, renewal));
    refresher.on("refused", ({ code }) => this.#tell("bad", "The SDK refused a token", `${code}: the service makes another`));
    refresher.on("lost", ({ reason, retryInMs }) => {
      const away = refresher.state === "away";
      this.#tell("bad", away ? "Connection to the service lost" : "The service is not reached", `${reason}; trying again in ${brief(retryInMs)}`, "lost");
    });
    refresher.on("error", (error) => {
      if (error instanceof Error && "code" in error) this.#tell("note", "The service says", error.message);
    });
    refresher.on("ended", (ended) => {
      if (this.refresher !== refresher) return; // the page itself has closed it
      this.ended = ended;
      const until = ended.accessEndsAt ? `; tokens work until ${clock(ended.accessEndsAt * 1000)}` : "";
      this.#tell("bad", "Session ended", `${ended.reason}${until}`);
      if (this.call === "out") {
        this.why = whyEnded(ended.reason);
        this.fate ||= "over";
      }
      this.#settle();
      this.onchange();
    });
  }

  /**
   * @param {Refresher} refresher
   * @param {Events["renewed"]} renewal
   */
  #renewed(refresher, { cause, via, marginMs, tookMs, expiresAt, rejoin, services }) {
    // A library that was switched on in the midst of a call knows of no token before.
    const leadMs = Number.isFinite(marginMs) ? marginMs : this.call === "in" ? this.leftMs() : 0;
    const inTime = leadMs > 0 && !rejoin && services.length > 0; // without services, nothing but this page has the token
    if (inTime) {
      this.renewals++;
      this.tightestMs = Math.min(this.tightestMs, leadMs);
    }
    const first = cause === "join" ? "The first token" : "A first token";
    const what = inTime ? `Renewed on time, ${seconds(leadMs)} to spare` : this.expiresAt && cause !== "join" ? "A token to join again with" : first;
    this.expiresAt = expiresAt;
    this.livedMs = this.leftMs();
    this.#tell("good", what, `${causes[cause] ?? cause}; confirmed in ${brief(tookMs)}${via === "http" ? ", over HTTP" : ""}`);
    refresher.token("rtc").then((token) => {
      this.token = token;
      this.onchange();
    }, () => {}); // the session has ended since
    void this.#send();
    this.onchange();
  }

  /**
   * @param {Kind} kind
   * @param {string} text
   * @param {string} detail
   * @param {string} [again]
   */
  #tell(kind, text, detail, again = "") {
    this.ontell({ at: Date.now(), kind, text, detail, again });
  }
}

/** Why there was a new token. @type {Record<string, string>} */
const causes = {
  join: "for a new session",
  resume: "the session was resumed",
  schedule: "on schedule",
  renew: "asked for",
  nack: "another, after a refusal (nack)",
  role: "for another role",
  certificate: "signed with the new certificate",
};

/** @param {string} reason why a session is over, for the end of a sentence */
function whyEnded(reason) {
  if (reason === "revoked") return "an operator ended it";
  return barred.has(reason) ? "the service refuses" : `the session is over: ${reason}`;
}
