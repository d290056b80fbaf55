// The record of the token that one person's SDK uses, and of its renewals.

export class TokenRecord {
  value = "";
  /** Unix seconds. */
  expiresAt = 0;
  /** The token's remaining life when it arrived, in milliseconds. */
  lifetimeMs = 0;
  /** The number of tokens that were replaced before they expired. */
  renewals = 0;
  /** The shortest remaining life of a token when it was replaced, in milliseconds. */
  tightestMs = Infinity;

  /**
   * The token's remaining life, in milliseconds.
   * @param {number} now Unix milliseconds
   */
  leftMs(now) {
    return Math.max(0, this.expiresAt * 1000 - now);
  }

  /**
   * Records a new token.
   * @param {number} expiresAt Unix seconds
   * @param {number} now Unix milliseconds
   * @param {number} marginMs remaining life of the old token in milliseconds; 0 if it had expired
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
