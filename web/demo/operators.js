// The operators' page. It reads the service's metrics every second.

import { unanswered } from "./api.js";
import { Card } from "./card.js";
import { columns, history } from "./chart.js";
import { el, setText } from "./dom.js";
import { clock, counted } from "./format.js";
import { Metrics } from "./metrics.js";
import { Readings, spanSeconds } from "./readings.js";
import { message } from "./reasons.js";

const everyMs = 1_000;
const pauseMs = 5_000; // the pause after a failure, and the time-out of a request
const recently = `in the last ${spanSeconds / 60} min`;
const frequency = `, ${recently}: how often, up to that`;

export class Operators {
  #status = el("p", { class: "status soft", role: "status" });
  #readings = new Readings();
  #silentSince = 0;
  #risk = new Card("At risk", "risk", "Connected, renewal unconfirmed, and under 30 s of life left. Sessions that are away do not count.");
  #sessions = new Card("Sessions", "sessions", "Away: nobody to push to. Such a call lasts as long as its token.");
  #store = new Card("Store", "store", "Where sessions are kept that nodes share.");
  #renewals = new Card("Renewals", "renewals", "");
  #margin = new Card("Margin", "margin", `Life left in the old token when the new one was confirmed${frequency} many seconds.`);
  #due = new Card("Falls due", "due", "Sessions to be renewed within that time.");
  #lag = new Card("Push lag", "lag", `From when a push was due to when it was written${frequency} long.`);
  #ack = new Card("Ack time", "ack", `From a push to its ack, SDK included${frequency} long.`);
  #issued = new Card("Tokens issued", "issued", "By service and cause, since the start of the service.");

  /** @param {HTMLElement} host */
  constructor(host) {
    const sections = (/** @type {Card[]} */ ...cards) => cards.map(({ section }) => section);
    host.append(
      el("h1", {}, "What operators see"),
      el("p", { class: "lead" }, "The metrics of this service, read every second, for Prometheus at /metrics of the operations port. None has a channel, a user or a session for a label."),
      this.#status,
      el("div", { class: "stats" }, ...sections(this.#risk, this.#sessions, this.#store)),
      el("div", { class: "charts" }, ...sections(this.#renewals, this.#margin, this.#due, this.#lag, this.#ack, this.#issued)),
    );
    const scrolls = { tabindex: "0", role: "group", "aria-label": "Tokens by service and cause" };
    for (const [name, value] of Object.entries(scrolls)) this.#issued.body.setAttribute(name, value);
  }

  /**
   * Reads and shows the metrics as long as the page is open, even while another view is shown. So if the
   * service stops answering, this view still shows the service's last metrics.
   */
  async run() {
    for (;;) {
      const metrics = await this.#read();
      if (metrics) this.#show(metrics);
      await new Promise((resolve) => setTimeout(resolve, metrics ? everyMs : pauseMs));
    }
  }

  /** Resolves with the metrics. If there is no answer, shows the reason, and resolves with null. */
  async #read() {
    try {
      const response = await fetch("demo/metrics", { signal: AbortSignal.timeout(pauseMs) }).catch(unanswered);
      if (!response.ok) throw new Error(`the service answers with status ${response.status}`);
      const metrics = new Metrics(await response.text().catch(unanswered));
      this.#silentSince = 0;
      this.#status.classList.remove("silent");
      setText(this.#status, "Live");
      return metrics;
    } catch (error) {
      this.#silentSince ||= Date.now();
      this.#status.classList.add("silent");
      setText(this.#status, `Not live since ${clock(this.#silentSince)}: ${message(error)}. What is shown is from before.`);
      return null;
    }
  }

  /** @param {Metrics} metrics */
  #show(metrics) {
    this.#readings.add(metrics, performance.now());
    this.#showSessions(metrics);
    this.#showRenewals();
    this.#showMargin();
    this.#showDuration(this.#lag, "Push lag", "refresher_push_lag_seconds");
    this.#showDuration(this.#ack, "Ack time", "refresher_ack_seconds");
    this.#showDue(metrics);
    this.#showIssued(metrics);
    this.#showStore(metrics);
  }

  /** @param {Metrics} metrics */
  #showSessions(metrics) {
    const risk = metrics.sum("refresher_sessions_at_risk");
    const connected = metrics.sum("refresher_sessions", { state: "attached" });
    const away = metrics.sum("refresher_sessions", { state: "detached" });
    // The figure counts only connected calls. A session without a connection may be at risk too, so the card is
    // green only if there is no such session.
    const fine = !away && !this.#readings.renewals("expired");
    this.#risk.setFigure(String(risk), risk ? "low" : fine ? "fine" : "");
    this.#risk.setLine(risk ? `${counted(risk, "connected call")} may lose its token.` : "No connected call waits for a token.");
    this.#sessions.setFigure(String(connected));
    this.#sessions.setLine(`connected, ${away} away`);
  }

  #showRenewals() {
    const readings = this.#readings;
    const acked = readings.renewals("acked");
    const rate = `${(acked / Math.max(1, readings.seconds)).toFixed(2)} a second`;
    const outcomes = `${acked} confirmed, ${readings.renewals("nacked")} refused by an SDK, ${readings.renewals("expired")} ran out unconfirmed`;
    this.#renewals.setFigure(rate);
    this.#renewals.setHint(`${recently.replace("i", "I")}: ${outcomes}.`);
    history(this.#renewals.body, `Renewals ${recently}: ${rate}; ${outcomes}.`, readings.renewalsBySecond());
  }

  #showMargin() {
    const buckets = this.#readings.histogram("refresher_renewal_margin_seconds");
    const least = buckets.findIndex(({ count }) => count > 0);
    this.#margin.setFigure(least < 0 ? "none" : least > 0 ? `at least ${buckets[least - 1]?.upTo} s` : "some too late");
    columns(this.#margin.body, "Margin in seconds", buckets.map(({ upTo, count }) => ({ name: bound(upTo, String), value: count })));
  }

  /**
   * @param {Card} card
   * @param {string} title
   * @param {string} name the histogram's name
   */
  #showDuration(card, title, name) {
    const buckets = this.#readings.histogram(name);
    const all = buckets.reduce((sum, { count }) => sum + count, 0);
    let beyond = all * 0.99;
    const quantile = buckets.find(({ count }) => (beyond -= count) <= 0)?.upTo ?? Infinity;
    card.setFigure(all ? `99 % within ${bound(quantile, short)}` : "none");
    columns(card.body, title, buckets.map(({ upTo, count }) => ({ name: bound(upTo, short), value: count })));
  }

  /** @param {Metrics} metrics */
  #showDue(metrics) {
    const buckets = metrics.histogram("refresher_schedule_due_seconds").filter(({ upTo }) => Number.isFinite(upTo));
    let sum = 0;
    const within = buckets.map(({ upTo, count }) => ({ name: `${upTo / 60} min`, value: (sum += count) }));
    this.#due.setFigure(`${within[0]?.value ?? 0} within a minute`);
    columns(this.#due.body, "Sessions that fall due", within);
  }

  /** @param {Metrics} metrics */
  #showIssued(metrics) {
    const issued = metrics.samples("refresher_tokens_issued_total");
    const head = ["Service", "Cause", "Tokens"].map((name) => el("th", { scope: "col" }, name));
    const rows = issued.map(({ labels, value }) => [labels.service ?? "", labels.cause ?? "", String(value)]);
    this.#issued.setFigure(`${issued.reduce((total, { value }) => total + value, 0)} in all`);
    this.#issued.body.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))))));
  }

  /** @param {Metrics} metrics */
  #showStore(metrics) {
    const up = metrics.sum("refresher_store_up") === 1;
    this.#store.setFigure(up ? "Up" : "Away", up ? "fine" : "low");
    this.#store.setLine(`${counted(metrics.sum("refresher_store_unwritten"), "session")} unwritten`);
  }
}

/**
 * Returns the name of a bucket, by its upper bound.
 * @param {number} upTo seconds
 * @param {(seconds: number) => string} format
 */
const bound = (upTo, format) => (Number.isFinite(upTo) ? format(upTo) : "more");

/** @param {number} s */
const short = (s) => (s < 1 ? `${s * 1000} ms` : `${s} s`);
