export { EndedError } from "./events.js";
export { Refresher } from "./refresher.js";

/** @typedef {import("./refresher.js").Options} Options */
/** @typedef {import("./events.js").Events} Events */
/** @typedef {import("./events.js").State} State */
/** @typedef {import("./events.js").Reason} Reason */
/** @typedef {import("./events.js").Cause} Cause */
/** @typedef {import("./binding.js").Sdk} Sdk */
/** @typedef {import("./binding.js").Reports} Reports */
/** @typedef {import("./platform.js").Platform} Platform */
/** @typedef {import("./protocol.js").Identity} Identity */
/** @typedef {import("./protocol.js").Service} Service */
