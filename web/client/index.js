export { EndedError, Refresher } from "./refresher.js";

/** @typedef {import("./refresher.js").Options} Options */
/** @typedef {import("./refresher.js").Events} Events */
/** @typedef {import("./refresher.js").State} State */
/** @typedef {import("./refresher.js").Reason} Reason */
/** @typedef {import("./refresher.js").Cause} Cause */
/** @typedef {import("./binding.js").Sdk} Sdk */
/** @typedef {import("./binding.js").Reports} Reports */
/** @typedef {import("./platform.js").Platform} Platform */
/** @typedef {import("./protocol.js").Identity} Identity */
/** @typedef {import("./protocol.js").Service} Service */
