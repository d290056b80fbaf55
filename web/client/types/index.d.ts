export { EndedError } from "./events.js";
export { Refresher } from "./refresher.js";
export type Options = import("./refresher.js").Options;
export type Events = import("./events.js").Events;
export type State = import("./events.js").State;
export type Reason = import("./events.js").Reason;
export type Cause = import("./events.js").Cause;
export type Sdk = import("./binding.js").Sdk;
export type Reports = import("./binding.js").Reports;
export type Platform = import("./platform.js").Platform;
export type Identity = import("./protocol.js").Identity;
export type Service = import("./protocol.js").Service;
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
