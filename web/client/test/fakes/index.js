// Fakes for the library's tests: a simulated device, network and service, and clients of Agora's SDKs. They use
// neither real time nor a real network.

export * from "./calls.js";
export * from "./sdk.js";
export * from "./service.js";
export * from "./simulation.js";
export * from "./time.js";
export { token } from "./tokens.js";
