/** @import { Reports } from "../binding.js" */
/** @import { Refresher } from "../refresher.js" */

/**
 * The part of agora-chat's connection that bindChat uses.
 * @typedef {object} ChatClient
 * @property {(token: string) => Promise<unknown>} renewToken
 * @property {(id: string, handler: object) => void} addEventHandler
 * @property {(id: string) => void} removeEventHandler
 */

/**
 * Renews the token of a connection of agora-chat.
 * @param {Refresher} refresher
 * @param {ChatClient} client
 * @param {{rejoin?: (token: string) => unknown}} [app] rejoin is called after the connection's token expired: it closes the connection, and opens it again with the new token
 * @returns {() => void} unbinds the connection
 */
export function bindChat(refresher, client, { rejoin } = {}) {
  if (!client?.addEventHandler) throw new TypeError("not a connection of agora-chat: use bind()");
  return refresher.bind("chat", {
    renew: (token) => client.renewToken(token),
    rejoin,
    listen: (reports) => listen(client, reports),
  }).unbind;
}

/**
 * The SDK's error code WEBIM_TOKEN_EXPIRED: Chat's server refused a reconnect because the token had expired.
 */
const tokenExpired = 56;

let handlers = 0; // the number of handlers so far, for unique handler ids

/**
 * @param {ChatClient} client
 * @param {Reports} reports
 */
function listen(client, { willExpire, expired, left, joined }) {
  const id = `refresher ${++handlers}`;
  let hasExpired = false;
  const onTokenExpired = () => {
    hasExpired = true; // after this event the SDK closes the connection and calls onDisconnected
    expired();
  };
  // The SDK accepts no token while it reconnects. Once it is connected, joined() delivers the newest token.
  const onGone = () => {
    if (!hasExpired) left();
  };
  client.addEventHandler(id, {
    onTokenWillExpire: willExpire,
    onTokenExpired,
    onError: (/** @type {{type: number} | undefined} */ error) => {
      if (error?.type === tokenExpired) onTokenExpired();
    },
    onReconnecting: onGone,
    onDisconnected: onGone,
    onConnected: () => {
      hasExpired = false;
      joined();
    },
  });
  return () => client.removeEventHandler(id);
}
