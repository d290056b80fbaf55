/** @import { Reports } from "../binding.js" */
/** @import { Refresher } from "../refresher.js" */

/**
 * The part of agora-rtc-sdk-ng's IAgoraRTCClient that bindRtc uses.
 * @typedef {object} RtcClient
 * @property {string} connectionState
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} on
 * @property {(event: any, listener: any) => void} off
 */

/**
 * Renews the token of a client of agora-rtc-sdk-ng for as long as it is in the call.
 * @param {Refresher} refresher
 * @param {RtcClient} client
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the SDK left the call because its token expired: it joins the call again with the new token, and publishes
 * @returns {() => void} unbinds the client
 */
export function bindRtc(refresher, client, { rejoin } = {}) {
  if (!client?.on) throw new TypeError("not a client of agora-rtc-sdk-ng: use bind()");
  return refresher.bind("rtc", {
    renew: (token) => client.renewToken(token),
    rejoin,
    isJoined: () => ["CONNECTED", "RECONNECTING"].includes(client.connectionState),
    listen: (reports) => listen(client, reports),
  }).unbind;
}

/**
 * @param {RtcClient} client
 * @param {Reports} reports
 */
function listen(client, { willExpire, expired, left, joined }) {
  /**
   * @param {string} now
   * @param {string} before
   * @param {string} [reason] one of the SDK's ConnectionDisconnectedReason
   */
  const onState = (now, before, reason) => {
    if (now === "CONNECTED") joined();
    // A failed join also ends in DISCONNECTED. But the client was never in the call, so it has not left the
    // call.
    if (now !== "DISCONNECTED" || before === "CONNECTING") return;
    // If Agora's edge refuses the token of a reconnect, the SDK does not emit token-privilege-did-expire.
    if (reason === "TOKEN_EXPIRE") expired();
    else left(false, reason === "LEAVE" ? "" : reason?.replace(/^UID_.*/, "$&: banned, or another page or device joined with the same uid"));
  };
  client.on("connection-state-change", onState);
  client.on("token-privilege-will-expire", willExpire);
  client.on("token-privilege-did-expire", expired);
  return () => {
    client.off("connection-state-change", onState);
    client.off("token-privilege-will-expire", willExpire);
    client.off("token-privilege-did-expire", expired);
  };
}
