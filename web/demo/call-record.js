// The record of one person's call: whether the person is in the call, since when, why not, and how many seconds
// were lost because tokens expired.

/** @typedef {"in" | "out" | "reconnecting"} CallState */

export class CallRecord {
  /** @type {CallState} */
  state = "out";
  /** When the person last entered the call, in Unix milliseconds; 0 before the first time. */
  inSince = 0;
  outSince = 0;
  /** Why the person is not in the call, as the end of a sentence. */
  reason = "";
  /**
   * Why a person is out of the call: "lost" because a token expired, "over" because the call was ended.
   * @type {"" | "lost" | "over"}
   */
  outcome = "";
  /** How often Agora's edge, or the simulated one, dropped the person because of a token. */
  drops = 0;
  /** Whether the person is out now because a token expired. */
  #losing = false;
  /** Milliseconds that were lost because earlier tokens expired. */
  #lostMs = 0;

  /**
   * Records that the person is in the call. Returns how many milliseconds the person was out before: 0 the
   * first time.
   * @param {number} now Unix milliseconds
   */
  joined(now) {
    const awayMs = this.outSince ? now - this.outSince : 0;
    if (this.state === "out") {
      this.stopLosing(now);
      this.outcome = "";
      this.inSince = now;
    }
    this.state = "in";
    this.reason = "";
    return awayMs;
  }

  /**
   * @param {number} now
   * @param {string} reason
   */
  cutOff(now, reason) {
    this.state = "reconnecting";
    this.outSince = now;
    this.reason = reason;
  }

  /**
   * @param {number} now
   * @param {string} reason
   * @param {"" | "lost" | "over"} outcome
   * @param {boolean} expired whether the edge dropped the person because the token expired
   */
  left(now, reason, outcome, expired) {
    if (this.state !== "reconnecting") this.outSince = now;
    this.state = "out";
    this.reason = reason;
    this.outcome = outcome;
    if (!expired) return;
    this.drops++;
    this.#losing = true;
  }

  /**
   * Ends the time that counts as lost because a token expired.
   * @param {number} now
   */
  stopLosing(now) {
    this.#lostMs = this.lostMs(now);
    this.#losing = false;
  }

  /**
   * Milliseconds of the call that were lost because tokens expired.
   * @param {number} now
   */
  lostMs(now) {
    return this.#lostMs + (this.#losing ? now - this.outSince : 0);
  }
}
