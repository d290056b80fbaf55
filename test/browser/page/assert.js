// The functions of node:assert/strict that the library's fakes and scenarios use, for use in pages.

class AssertionError extends Error {
  name = "AssertionError";
}

/** Converts a value to text. Ignores undefined properties and the order of keys. */
const text = (/** @type {unknown} */ value) => JSON.stringify(value, (_, inner) => (inner && typeof inner === "object" && !Array.isArray(inner)
  ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
  : inner));

/** @param {unknown} condition @param {string} [message] */
function ok(condition, message = "not ok") {
  if (!condition) throw new AssertionError(message);
}

/** @param {unknown} actual @param {unknown} expected @param {string} [message] */
function equal(actual, expected, message = "") {
  ok(text(actual) === text(expected), `${message}: ${text(actual)}, expected ${text(expected)}`);
}

/** @param {string} actual @param {RegExp} pattern */
const match = (actual, pattern) => ok(pattern.test(actual), `${text(actual)} does not match ${pattern}`);

export default { deepEqual: equal, equal, match, ok };
