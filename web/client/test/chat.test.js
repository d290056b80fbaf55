// bindChat with a real connection of agora-chat in Node.js, with the SDK's own timers, events and refusals. The
// connection has no socket: the tests call the functions that its socket would call.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindChat } from "../bindings/chat.js";
import { conformance, registered } from "./conformance.js";
import { Simulation, minute, second, settle } from "./fakes/index.js";
import { tested } from "./sdks.js";

// Globals that the SDK needs while it is loaded.
globalThis.window ??= globalThis;
globalThis.self ??= globalThis;
// The SDK never clears its intervals; without unref they would keep the process alive.
const { setInterval } = globalThis;
globalThis.setInterval = (...args) => setInterval(...args).unref();
const { default: { default: AgoraChat } } = await import("agora-chat");
AgoraChat.logger.disableAll();

const tokenExpired = AgoraChat.statusCode.WEBIM_TOKEN_EXPIRED;

/** Opens a live call with a chat connection that is bound and open. */
async function chatting(t, { rejoins = true } = {}) {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ chat: { userId: "ana" } }, { services: ["rtc", "chat"], ttl: 3600, renewBefore: 300 });
  const chat = new AgoraChat.connection({ appKey: "org#app" });
  t.after(() => chat.clearTokenTimeout());
  const taken = [];
  chat.getTokenExpireTimestamp = async () => ({ expire_timestamp: Date.now() + hourOfTheSdk });
  const renewToken = t.mock.method(chat, "renewToken");
  /** Opens the connection, as the server's answer to a login would. */
  const opens = (token) => {
    taken.push(token);
    Object.assign(chat, { logOut: false, sock: { readyState: 1, close() { this.readyState = 3; } } });
    chat.eventHandler.dispatch("onConnected");
  };
  const rejoin = t.mock.fn(async (token) => {
    chat.close();
    opens(token);
  });
  const unbind = bindChat(refresher, chat, rejoins ? { rejoin } : {});
  opens(await refresher.token("chat"));
  const push = async (fields) => {
    const message = sim.push({ services: ["rtc", "chat"], ...fields });
    await socket.says(message);
    return message.tokens.chat.token;
  };
  return { sim, refresher, socket, chat, opens, rejoin, renewToken, unbind, push };
}

const hourOfTheSdk = 3_600_000;

test("a token is acked after the promise of renewToken has resolved", async (t) => {
  const { sim, socket, chat, renewToken, push } = await chatting(t);
  const token = await push({ seq: 2 });
  assert.deepEqual(renewToken.mock.calls.map((call) => call.arguments[0]), [token]);
  assert.equal(chat.token, token);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  assert.deepEqual(sim.saw("renewed").at(-1).services, ["chat"]);
});

test("a connection that closed because its token expired is opened again with the newest token", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { socket, chat, rejoin, push } = await chatting(t);
  const token = await push({ seq: 2 });
  t.mock.timers.tick(hourOfTheSdk); // the SDK's timer calls onTokenExpired, then close()
  chat.eventHandler.dispatch("onDisconnected");
  await settle();
  assert.deepEqual(rejoin.mock.calls.map((call) => call.arguments[0]), [token]);
  socket.take();
  await push({ seq: 3 });
  assert.equal(rejoin.mock.callCount(), 1, "and renewed after that");
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 3 }]);
});

test("a connection that closed is opened again when valid tokens arrive later", async (t) => {
  const { sim, chat, rejoin, push } = await chatting(t);
  await sim.pass(60 * minute);
  chat.closeByTokenExpired();
  chat.eventHandler.dispatch("onDisconnected");
  await settle();
  assert.equal(rejoin.mock.callCount(), 0);
  const token = await push({ seq: 2, action: "rejoin" });
  assert.deepEqual(rejoin.mock.calls.map((call) => call.arguments[0]), [token]);
});

for (const rejoins of [true, false]) {
  test(`opened again by the app itself, it is renewed, ${rejoins ? "after a rejoin that failed" : "without a rejoin"}`, async (t) => {
    const { refresher, socket, chat, opens, rejoin, renewToken, push } = await chatting(t, { rejoins });
    rejoin.mock.mockImplementation(() => Promise.reject(new Error("no network")));
    chat.closeByTokenExpired();
    chat.eventHandler.dispatch("onDisconnected");
    await settle();
    opens(await refresher.token("chat"));
    socket.take();
    const token = await push({ seq: 2 });
    assert.deepEqual(renewToken.mock.calls.map((call) => call.arguments[0]), [token]);
    assert.equal(rejoin.mock.callCount(), rejoins ? 1 : 0);
    assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
  });
}

test("a reconnect that is refused for an expired token is opened again with the newest token", async (t) => {
  const { chat, rejoin } = await chatting(t);
  chat.eventHandler.dispatch("onReconnecting");
  chat.eventHandler.dispatch("onError", { type: tokenExpired, message: "Sorry, token expired" });
  await settle();
  assert.equal(rejoin.mock.callCount(), 1);
});

test("other errors of the connection change nothing", async (t) => {
  const { chat, rejoin, renewToken, push } = await chatting(t);
  for (const error of [{ type: AgoraChat.statusCode.WEBIM_CONNCTION_DISCONNECTED, message: "websocket has been disconnected" }, undefined]) chat.eventHandler.dispatch("onError", error);
  await push({ seq: 2 });
  assert.deepEqual([rejoin.mock.callCount(), renewToken.mock.callCount()], [0, 1]);
});

test("a connection that reconnects gets no tokens meanwhile, and the newest after that", async (t) => {
  const { sim, socket, chat, renewToken, push } = await chatting(t);
  chat.sock.readyState = 3;
  chat.eventHandler.dispatch("onReconnecting");
  const token = await push({ seq: 2 });
  assert.equal(renewToken.mock.callCount(), 0);
  assert.deepEqual(sim.saw("renewed").at(-1).services, []);
  chat.sock.readyState = 1;
  chat.eventHandler.dispatch("onConnected");
  await settle();
  assert.deepEqual(renewToken.mock.calls.map((call) => call.arguments[0]), [token]);
  assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }, { type: "ack", seq: 2 }]);
});

test("a user who closed the connection, or was removed, gets no tokens until it is open again", async (t) => {
  const { chat, opens, rejoin, renewToken, push } = await chatting(t);
  chat.close();
  chat.eventHandler.dispatch("onDisconnected");
  await push({ seq: 2 });
  await push({ seq: 3, action: "rejoin" });
  assert.deepEqual([rejoin.mock.callCount(), renewToken.mock.callCount()], [0, 0]);
  opens("by the app");
  await settle();
  assert.deepEqual([rejoin.mock.callCount(), renewToken.mock.callCount()], [0, 1]);
});

test("the refusal of a closed connection is sent as JSON", async (t) => {
  const { sim, socket, chat, push } = await chatting(t, { rejoins: false });
  chat.close(); // the connection has closed, but onDisconnected was not called
  await push({ seq: 2 });
  assert.deepEqual(socket.take(), [{ type: "nack", seq: 2, code: "UNKNOWN", message: '{"status":false}' }]);
  assert.equal(sim.saw("refused").at(-1).message, '{"status":false}');
});

test("the type of an error is the code of the nack", async (t) => {
  const { socket, chat, rejoin, push } = await chatting(t);
  rejoin.mock.mockImplementation(() => chat.open({ user: "" })); // open() rejects, since there is no network
  await push({ seq: 2, action: "rejoin" });
  const [{ type, code, message }] = socket.take();
  assert.deepEqual([type, code], ["nack", String(AgoraChat.statusCode.WEBIM_USER_ALREADY_LOGIN ?? "")]);
  assert.match(message, /logged in/);
});

for (const [left, asked] of [[301, []], [299, [{ type: "renew" }]]]) {
  test(`its warning, which comes when a fifth of its life is left, ${asked.length ? "asks when the push is late" : "does nothing when no push is late yet"}`, async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { sim, socket, push } = await chatting(t);
    await push({ seq: 2 });
    await sim.pass((3600 - left) * second);
    socket.take();
    t.mock.timers.tick(0.8 * hourOfTheSdk);
    assert.deepEqual(socket.take(), asked);
  });
}

test("an unbound connection gets no tokens", async (t) => {
  const { chat, renewToken, unbind, push } = await chatting(t);
  assert.equal(Object.keys(chat.eventHandler.handlerData).length, 1);
  unbind();
  assert.equal(Object.keys(chat.eventHandler.handlerData).length, 0);
  await push({ seq: 2 });
  assert.equal(renewToken.mock.callCount(), 0);
});

test("two bindings of one connection don't take each other's listeners", async (t) => {
  const { refresher, chat, unbind } = await chatting(t);
  const second = bindChat(refresher, chat);
  unbind();
  assert.equal(Object.keys(chat.eventHandler.handlerData).length, 1);
  second();
});

test("bindChat refuses other objects with an error that says what to do", async (t) => {
  const { refresher } = await chatting(t);
  assert.throws(() => bindChat(refresher, { renewToken: () => {} }), (error) => error instanceof TypeError && /agora-chat.*use bind\(\)/.test(error.message));
});

conformance("agora-chat", "chat", (taken, t) => {
  const chat = new AgoraChat.connection({ appKey: "org#app" });
  t.after(() => chat.clearTokenTimeout());
  chat.getTokenExpireTimestamp = async () => ({ expire_timestamp: Date.now() + hourOfTheSdk });
  const renewToken = chat.renewToken.bind(chat);
  chat.renewToken = async (token) => {
    await renewToken(token).finally(() => (chat.sock.readyState = 1));
    taken.add("renew", token);
  };
  const closed = () => chat.eventHandler.dispatch("onDisconnected");
  return {
    bind: (refresher, app) => bindChat(refresher, chat, app),
    async join(token) {
      chat.close();
      Object.assign(chat, { logOut: false, sock: { readyState: 1, close() { this.readyState = 3; } } });
      chat.eventHandler.dispatch("onConnected");
      taken.add("join", token);
    },
    warns: () => chat.eventHandler.dispatch("onTokenWillExpire"),
    expires: () => (chat.closeByTokenExpired(), closed()),
    leaves: () => (chat.close(), closed()),
    refuses: () => ((chat.sock.readyState = 3), "UNKNOWN"), // the SDK rejects with {status: false}, without a code
  };
});

tested(import.meta.url, registered);
