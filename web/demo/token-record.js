// The record of the token that one person's SDK uses, and of its renewals.

export class TokenRecord {
  value = "";
  /** Unix seconds. */
  expiresAt = 0;
  /** Milliseconds that the token had left when it arrived. */
  lifetimeMs = 0;
  /** How many tokens were replaced before they expired. */
  renewals = 0;
  /** The shortest time that a replaced token had left, in milliseconds. */
  tightestMs = Infinity;

  /**
   * Milliseconds that the token has left.
   * @param {number} now Unix milliseconds
   */
  leftMs(now) {
    return Math.max(0, this.expiresAt * 1000 - now);
  }

  /**
   * Records a new token.
   * @param {number} expiresAt Unix seconds
   * @param {number} now Unix milliseconds
   * @param {number} marginMs milliseconds that the old token had left; 0 if it was not renewed in time
   */
  replaced(expiresAt, now, marginMs) {
    if (marginMs > 0) {
      this.renewals++;
      this.tightestMs = Math.min(this.tightestMs, marginMs);
    }
    this.expiresAt = expiresAt;
    this.lifetimeMs = this.leftMs(now);
  }
}
