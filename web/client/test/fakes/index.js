// Fakes for the tests of the library: a simulated device, network and service, and
// clients of Agora's SDKs. Nothing in here waits for real time or uses a network.

export * from "./calls.js";
export * from "./sdk.js";
export * from "./service.js";
export * from "./simulation.js";
export * from "./time.js";
export { token } from "./tokens.js";
