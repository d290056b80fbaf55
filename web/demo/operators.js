// What operators see: the service's own metrics, every second.

import { columns, history } from "./chart.js";
import { el, say } from "./dom.js";
import { clock, counted } from "./format.js";
import { Metrics } from "./metrics.js";

const everyMs = 1_000;
const pauseMs = 5_000; // after a failure
const span = 120; // seconds of history
const recently = `in the last ${span / 60} min`;
const often = `, ${recently}: how often, up to that`;

/** @typedef {{at: number, m: Metrics}} Reading */

export class Operators {
  #host;
  /** @type {Record<string, HTMLElement>} */
  #parts = {};
  #status = el("p", { class: "status soft", role: "status" });
  /** What was read of late, the oldest first. @type {Reading[]} */
  #past = [];
  #silentSince = 0;

  /** @param {HTMLElement} host */
  constructor(host) {
    this.#host = host;
    host.append(
      el("h1", {}, "What operators see"),
      el("p", { class: "lead" }, "The metrics of this service, read every second, for Prometheus at /metrics of the operations port. None has a channel, a user or a session for a label."),
      this.#status,
      el("div", { class: "stats" },
        this.#card("At risk", "risk", "Connected, renewal unconfirmed, and under 30 s of life left. Who is away is not among them."),
        this.#card("Sessions", "sessions", "Away: nobody to push to. Such a call lasts as long as its token."),
        this.#card("Store", "store", "Where sessions are kept that nodes share."),
      ),
      el("div", { class: "charts" },
        this.#card("Renewals", "renewals", ""),
        this.#card("Margin", "margin", `Life left in the old token when the new one was confirmed${often} many seconds.`),
        this.#card("Falls due", "due", "Sessions to be renewed within that time."),
        this.#card("Push lag", "lag", `From when a push was due to when it was written${often} long.`),
        this.#card("Ack time", "ack", `From a push to its ack, SDK included${often} long.`),
        this.#card("Tokens issued", "issued", "By service and cause, since the start of the service."),
      ),
    );
    const table = this.#parts["issued-more"];
    table?.setAttribute("tabindex", "0"); // it scrolls
    table?.setAttribute("role", "group");
    table?.setAttribute("aria-label", "Tokens by service and cause");
  }

  /**
   * @param {string} title
   * @param {string} name
   * @param {string} hint
   */
  #card(title, name, hint) {
    const figure = el("p", { class: "figure" }, "–");
    const rest = el("div", { class: "rest" });
    this.#parts[name] = figure;
    this.#parts[`${name}-more`] = rest;
    this.#parts[`${name}-hint`] = el("p", { class: "hint" }, hint);
    const id = `metric-${name}`;
    return el("section", { class: `card metric ${name}`, "aria-labelledby": id },
      el("h2", { id }, title), figure, rest, this.#parts[`${name}-hint`] ?? "");
  }

  /** Goes on for as long as the page is there. */
  async run() {
    for (;;) {
      const read = await this.#read();
      await new Promise((resolve) => setTimeout(resolve, read ? everyMs : pauseMs));
    }
  }

  async #read() {
    try {
      const response = await fetch("demo/metrics", { signal: AbortSignal.timeout(pauseMs) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.#take(new Metrics(await response.text()));
      this.#silentSince = 0;
      this.#status.classList.remove("silent");
      say(this.#status, "Live");
      return true;
    } catch {
      this.#silentSince ||= Date.now();
      this.#status.classList.add("silent");
      say(this.#status, `The service does not answer since ${clock(this.#silentSince)}; what is shown is from before.`);
      return false;
    }
  }

  /** @param {Metrics} m */
  #take(m) {
    const at = performance.now();
    if (count(m, "acked") < count(this.#past.at(-1)?.m ?? m, "acked")) this.#past = []; // the service was started again, and counts anew
    this.#past = [...this.#past.filter((past) => past.at > at - span * 1000), { at, m }];
    this.show(m, this.#past[0] ?? { at, m }, at); // hidden, too: the service may not answer when somebody looks
  }

  /** How many were confirmed in each second. */
  #history() {
    const seconds = Array(span).fill(0);
    const now = this.#past.at(-1)?.at ?? 0;
    for (const [i, { at, m }] of this.#past.entries()) {
      const before = this.#past[i - 1];
      if (before) seconds[Math.max(0, span - 1 - Math.floor((now - at) / 1000))] += count(m, "acked") - count(before.m, "acked");
    }
    return seconds;
  }

  /**
   * @param {Metrics} m
   * @param {Reading} before the first of those that are recent
   * @param {number} at
   */
  show(m, before, at) {
    const risk = m.sum("refresher_sessions_at_risk");
    this.#say("risk", String(risk));
    const [attached, detached] = ["attached", "detached"].map((state) => m.sum("refresher_sessions", { state }));
    const [acked = 0, nacked, expired] = ["acked", "nacked", "expired"].map((outcome) => count(m, outcome) - count(before.m, outcome));
    // Green only where nobody can be losing a call: who is away may be.
    this.#parts.risk?.setAttribute("data-level", risk ? "low" : detached || expired ? "" : "fine");
    this.#say("risk-more", risk ? `${counted(risk, "connected call")} may lose its token.` : "No connected call waits for a token.");
    this.#say("sessions", String(attached));
    this.#say("sessions-more", `connected, ${detached} away`);

    const rate = `${(acked / Math.max(1, (at - before.at) / 1000)).toFixed(2)} a second`;
    const outcomes = `${acked} confirmed, ${nacked} refused by an SDK, ${expired} ran out unconfirmed`;
    this.#say("renewals", rate);
    this.#say("renewals-hint", `${recently.replace("i", "I")}: ${outcomes}.`);
    this.#draw("renewals", (host) => history(host, `Renewals ${recently}: ${rate}; ${outcomes}.`, this.#history()));

    const recent = (/** @type {string} */ name) => {
      const then = before.m.histogram(name);
      return m.histogram(name).map(({ upTo, count }, i) => ({ upTo, count: count - (then[i]?.count ?? 0) }));
    };
    this.#histogram("margin", "Margin in seconds", recent("refresher_renewal_margin_seconds"), (s) => `${s}`, false);
    this.#histogram("lag", "Push lag", recent("refresher_push_lag_seconds"), short, true);
    this.#histogram("ack", "Ack time", recent("refresher_ack_seconds"), short, true);

    const due = m.histogram("refresher_schedule_due_seconds");
    let sum = 0;
    const within = due.filter(({ upTo }) => Number.isFinite(upTo)).map(({ upTo, count }) => ({ name: `${upTo / 60} min`, value: (sum += count) }));
    this.#say("due", `${within[0]?.value ?? 0} within a minute`);
    this.#draw("due", (host) => columns(host, "Sessions that fall due", within));

    const issued = m.samples("refresher_tokens_issued_total");
    this.#say("issued", `${issued.reduce((total, { value }) => total + value, 0)} in all`);
    this.#parts["issued-more"]?.replaceChildren(el("table", {},
      el("thead", {}, el("tr", {}, ...["Service", "Cause", "Tokens"].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...issued.map(({ labels, value }) => el("tr", {}, ...[labels.service ?? "", labels.cause ?? "", String(value)].map((cell) => el("td", {}, cell)))))));

    const up = m.sum("refresher_store_up") === 1;
    this.#say("store", up ? "Up" : "Away");
    this.#parts.store?.setAttribute("data-level", up ? "fine" : "low");
    this.#say("store-more", `${counted(m.sum("refresher_store_unwritten"), "session")} unwritten`);
  }

  /**
   * @param {string} name
   * @param {string} title
   * @param {{upTo: number, count: number}[]} buckets
   * @param {(seconds: number) => string} format
   * @param {boolean} quantiles the figure is what most stay within; else where the least is
   */
  #histogram(name, title, buckets, format, quantiles) {
    const count = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
    const bound = (/** @type {number} */ upTo) => (Number.isFinite(upTo) ? format(upTo) : "more");
    const within = (/** @type {number} */ share) => {
      let left = count * share;
      return bound(buckets.find((bucket) => (left -= bucket.count) <= 0)?.upTo ?? Infinity);
    };
    const least = buckets.findIndex((bucket) => bucket.count > 0);
    const atLeast = least > 0 ? `at least ${buckets[least - 1]?.upTo} s` : "some too late";
    this.#say(name, count === 0 ? "none" : quantiles ? `99 % within ${within(0.99)}` : atLeast);
    this.#draw(name, (host) => columns(host, title, buckets.map(({ upTo, count: value }) => ({ name: bound(upTo), value }))));
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #say(name, text) {
    const part = this.#parts[name];
    if (part) say(part, text);
  }

  /**
   * @param {string} name
   * @param {(host: HTMLElement) => void} draw
   */
  #draw(name, draw) {
    const host = this.#parts[`${name}-more`];
    if (host) draw(host);
  }
}

/**
 * @param {Metrics} m
 * @param {string} outcome of renewals
 */
const count = (m, outcome) => m.sum("refresher_renewals_total", { outcome });

/** @param {number} s */
const short = (s) => (s < 1 ? `${s * 1000} ms` : `${s} s`);
