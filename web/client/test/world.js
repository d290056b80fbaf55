// For tests that still use the old names.
export * from "./fakes/index.js";
export {
  FakeNativeRtmClient as NativeRtmClient, FakeOldRtmClient as OldRtmClient, FakeRtcClient as RtcClient, FakeRtmClient as RtmClient, Simulation as World,
} from "./fakes/index.js";
