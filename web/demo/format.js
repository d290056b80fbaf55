const clockFormat = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/**
 * Formats a time of day, such as 20:14:33.
 * @param {number} ms Unix milliseconds
 */
export const clock = (ms) => clockFormat.format(ms);

/**
 * Formats a duration, such as 3:12 or 1:03:12.
 * @param {number} ms
 */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  const hours = Math.floor(seconds / 3600);
  if (hours) parts.unshift(hours);
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

/**
 * Formats seconds, such as 14.2 s.
 * @param {number} ms
 */
export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/**
 * Formats a short duration, such as 12 ms or 1.2 s.
 * @param {number} ms
 */
export const brief = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : seconds(ms));

/**
 * Formats a duration of any length, such as 12 ms, 1.2 s or 3:12.
 * @param {number} ms
 */
export const lasted = (ms) => (ms < 10_000 ? brief(ms) : span(ms));

/**
 * Formats the rest of a countdown, such as 9 s or 1:52.
 * @param {number} ms
 */
export const remaining = (ms) => (ms > 99_000 ? span(ms + 999) : `${Math.ceil(ms / 1000)}\u00a0s`);

/**
 * Formats a token lifetime, such as 10 s, 2 min or 1 h.
 * @param {number} s
 */
export function lifetime(s) {
  if (s % 3600 === 0) return `${s / 3600} h`;
  return s % 60 === 0 ? `${s / 60} min` : `${s} s`;
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
