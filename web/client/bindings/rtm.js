/** @import { Reports, Sdk } from "../binding.js" */
/** @import { Refresher } from "../refresher.js" */

/**
 * The part of the RTMClient of agora-rtm 2 or agora-react-native-rtm 2 that the bindings use.
 * @typedef {object} RtmClient
 * @property {(token: string, options?: {channelName: string}) => Promise<unknown>} renewToken
 * @property {(event: any, listener: any) => void} addEventListener
 * @property {(event: any, listener: any) => void} removeEventListener
 */

/**
 * Renews the token of a client's login.
 * @param {Refresher} refresher
 * @param {RtmClient} client
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the login ended because its token expired: it logs out, and logs in with the new token
 * @returns {() => void} unbinds the client
 */
export function bindRtm(refresher, client, { rejoin } = {}) {
  return bind(refresher, "rtm", client, "", {
    renew: (token) => client.renewToken(token),
    rejoin,
  });
}

/**
 * Renews the token of one stream channel of a client. A stream channel needs an RTC token for the
 * channel and the RTM user, so the Refresher must have `rtc: { channel, account: userId }`.
 * @param {Refresher} refresher
 * @param {RtmClient} client
 * @param {string} channelName
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the channel's token expired: it joins the channel again with the new token
 * @returns {() => void} unbinds the channel
 */
export function bindStreamChannel(refresher, client, channelName, { rejoin } = {}) {
  const { rtc } = refresher.identity;
  if (rtc && ![channelName, "*"].includes(rtc.channel)) throw new TypeError("the channel is not that of rtc");
  return bind(refresher, "rtc", client, channelName, {
    renew: (token) => client.renewToken(token, { channelName }),
    rejoin,
  });
}

/**
 * @param {Refresher} refresher
 * @param {"rtc" | "rtm"} service
 * @param {RtmClient} client
 * @param {string} channelName of a stream channel; empty for the login
 * @param {Sdk} sdk
 */
function bind(refresher, service, client, channelName, sdk) {
  if (!client?.addEventListener) throw new TypeError("not a client of agora-rtm 2 or agora-react-native-rtm 2: use bind()");
  return refresher.bind(service, { ...sdk, listen: (reports) => listen(client, channelName, reports) }).unbind;
}

/**
 * Subscribes to the client's events. A client reports on its login and on all of its stream
 * channels by the same events; only events about the given channel reach the reports, or those about the login
 * if channelName is empty.
 * @param {RtmClient} client
 * @param {string} channelName of a stream channel; empty for the login
 * @param {Reports} reports
 */
function listen(client, channelName, { willExpire, expired, left, joined }) {
  let hasLinkState = false;
  /** @param {string | null} [channel] a stream channel; empty or absent for the login */
  const onWillExpire = (channel) => {
    if ((channel || "") === channelName) willExpire();
  };
  /**
   * agora-rtm 2.2 and later pass strings (2.2.0 without a reasonCode); agora-react-native-rtm 2 passes numbers.
   * @param {any} link
   */
  const onLinkState = ({ serviceType, affectedChannels, currentState, reasonCode, reason }) => {
    hasLinkState = true;
    const own = channelName
      ? ["STREAM", 2].includes(serviceType) && affectedChannels?.includes(channelName)
      : ["MESSAGE", 1].includes(serviceType);
    if (!own) return;
    const failed = ["FAILED", 5].includes(currentState);
    if (["CONNECTED", 2].includes(currentState)) joined();
    if (failed || ["IDLE", 0].includes(currentState)) (/expired|^17$/i.test(reasonCode ?? reason) ? expired : left)(failed);
  };
  /**
   * agora-rtm 2.1 has only this event. Later versions also emit linkState, which has more details, so for these
   * versions this event is ignored.
   * @param {any} status
   */
  const onStatus = ({ channelName: channel, state, reason }) => {
    if (hasLinkState || channel || channelName) return;
    if (state === "CONNECTED") joined();
    // PRESENCE_NOT_READY is the reason if the token expired while the client was reconnecting.
    if (["DISCONNECTED", "FAILED"].includes(state)) (["TOKEN_EXPIRED", "PRESENCE_NOT_READY"].includes(reason) ? expired : left)(reason !== "LOGOUT");
  };
  client.addEventListener("tokenPrivilegeWillExpire", onWillExpire);
  client.addEventListener("linkState", onLinkState);
  client.addEventListener("status", onStatus);
  return () => {
    client.removeEventListener("tokenPrivilegeWillExpire", onWillExpire);
    client.removeEventListener("linkState", onLinkState);
    client.removeEventListener("status", onStatus);
  };
}
