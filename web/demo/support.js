// Checks whether a browser can send the call's pictures and tones. Each function returns what the browser
// lacks, as a text for the visitor; an empty string if it lacks nothing.

const hasWebRTC = () => typeof RTCPeerConnection === "function";

export function missingForPictures() {
  if (!hasWebRTC()) return "this browser has no WebRTC (Lockdown Mode and some settings turn it off)";
  if (typeof HTMLCanvasElement.prototype.captureStream !== "function") return "this browser makes no video of a canvas";
  const codecs = RTCRtpSender.getCapabilities?.("video")?.codecs; // old browsers lack this method
  const usable = codecs?.some(({ mimeType }) => /\/(vp8|vp9|av1|h264)$/i.test(mimeType)) ?? true;
  return usable ? "" : "this browser has no video codec for WebRTC (VP8, VP9, AV1 or H.264)";
}

export function missingForSound() {
  if (!hasWebRTC()) return "this browser has no WebRTC";
  const makesTones = typeof AudioContext === "function" && typeof AudioContext.prototype.createMediaStreamDestination === "function";
  return makesTones ? "" : "this browser has no Web Audio";
}
