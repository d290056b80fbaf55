// Sessions that survive a reload of the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { FakeRtcClient, Simulation, minute, second, settle } from "./fakes/index.js";

function tab(content = {}) {
  return {
    content,
    getItem: (name) => content[name] ?? null,
    setItem: (name, value) => void (content[name] = String(value)),
    removeItem: (name) => void delete content[name],
  };
}

const only = (storage) => {
  const names = Object.keys(storage.content);
  assert.equal(names.length, 1);
  return names[0];
};

/** Ends the page with its sockets and timers, and makes the next page in the same tab. */
async function reload(sim) {
  sim.hide();
  if (sim.socket.readyState < 2) sim.socket.readyState = 3;
  const next = new Simulation();
  Object.assign(next, { time: sim.time, keys: sim.keys });
  return next;
}

test("a reload resumes the session, with the seq of the last bundle that the previous page applied", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const credential = t.mock.fn(() => "c");
  const { socket } = await sim.live({ storage, credential });
  await sim.pass(minute);
  const push = sim.push({ seq: 2 });
  await socket.says(push);

  const next = await reload(sim);
  const refresher = next.refresher({ storage, credential });
  assert.equal(refresher.session, "session-1");
  assert.equal(refresher.state, "connecting");
  const resumed = await next.join({ seq: 3 });
  assert.deepEqual(resumed.sent[0], { type: "resume", session: "session-1", key: "key-1", seq: 2, expiresAt: push.tokens.rtc.expiresAt });
  assert.equal(credential.mock.callCount(), 1);
  assert.ok(await refresher.token("rtc"));
});

test("each joined replaces the resume token in the storage", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  await sim.resume({ seq: 2, key: "newest" });
  assert.deepEqual(JSON.parse(storage.content[only(storage)]), { session: "session-1", key: "newest", seq: 2, expiresAt: sim.seconds() + 3600 });
});

test("no token is kept, nor a credential", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage, credential: "the-credential" });
  const kept = JSON.stringify(storage.content);
  assert.ok(!kept.includes(await refresher.token("rtc")));
  assert.ok(!kept.includes("the-credential"));
});

test("another call in the same tab has its own resume token", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  for (const options of [
    { rtc: { channel: "weekly", uid: 1001 } }, { rtm: { userId: "1001" } }, { ttl: 60 }, { url: "https://other.example.com" }, { rtc: { channel: "daily", uid: 1001, role: "subscriber" } },
  ]) {
    const next = await reload(sim);
    next.refresher({ storage, ...options });
    await settle();
    await next.socket.opens();
    assert.equal(next.socket.sent[0].type, "join", JSON.stringify(options));
  }
});

test("storage: null stores nothing", async (t) => {
  const storage = tab();
  t.after(() => delete globalThis.sessionStorage);
  globalThis.sessionStorage = storage;
  const sim = new Simulation(t);
  await sim.live({ storage: null });
  assert.deepEqual(storage.content, {});
});

test("without the option storage, sessionStorage is used", async (t) => {
  const storage = tab();
  t.after(() => delete globalThis.sessionStorage);
  globalThis.sessionStorage = storage;
  const sim = new Simulation(t);
  await sim.live({ storage: undefined });
  only(storage);
});

test("a sessionStorage that cannot be accessed is not used", async (t) => {
  Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get: () => { throw new Error("SecurityError"); } });
  t.after(() => delete globalThis.sessionStorage);
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage: undefined });
  assert.equal(refresher.state, "live");
});

test("a storage whose methods all throw is like no storage", async (t) => {
  const no = () => {
    throw new Error("QuotaExceededError");
  };
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage: { getItem: no, setItem: no, removeItem: no } });
  await sim.resume({ seq: 2 });
  assert.equal(sim.socket.sent[0].key, "key-1");
  refresher.leave();
  sim.assertEmpty();
});

for (const garbage of [
  "", "{", "null", "[]", "17", `"text"`, "{}", `{"session":"s"}`, `{"key":"k"}`, `{"session":1,"key":2}`, `{"session":null,"key":null}`,
]) {
  test(`a stored value that is no resume token is ignored: ${garbage || "nothing"}`, async (t) => {
    const storage = tab();
    const sim = new Simulation(t);
    await sim.live({ storage });
    storage.content[only(storage)] = garbage;
    const next = await reload(sim);
    next.refresher({ storage });
    await settle();
    await next.socket.opens();
    assert.equal(next.socket.sent[0].type, "join");
  });
}

test("a stored seq or expiresAt that is no number counts as 0", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  storage.content[only(storage)] = `{"session":"s","key":"k","seq":"many","expiresAt":null,"more":1}`;
  const next = await reload(sim);
  next.refresher({ storage });
  await settle();
  await next.socket.opens();
  assert.deepEqual(next.socket.sent[0], { type: "resume", session: "s", key: "k", seq: 0, expiresAt: 0 });
});

for (const [what, refuse] of [
  ["4404", (socket) => socket.refuses(4404, "unknown_session")],
  ["4410", (socket) => socket.endsWith("left")],
  ["4409", (socket) => socket.endsWith("superseded", 4409)],
  ["4400", (socket) => socket.refuses(4400, "bad_request")],
]) {
  test(`a stored session that is refused with ${what} is replaced by a join, once`, async (t) => {
    const storage = tab();
    const sim = new Simulation(t);
    await sim.live({ storage });
    const next = await reload(sim);
    const refresher = next.refresher({ storage });
    await settle();
    await next.socket.opens();
    await refuse(next.socket);
    assert.deepEqual(storage.content, {});
    await next.nextSocket();
    await next.socket.opens();
    assert.equal(next.socket.sent[0].type, "join");
    await refuse(next.socket);
    assert.equal(refresher.state, "ended");
  });
}

test("a stored session that was resumed ends like any other", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  const next = await reload(sim);
  const refresher = next.refresher({ storage });
  await next.join({ seq: 2 });
  await next.socket.endsWith("superseded", 4409);
  assert.equal(refresher.state, "ended");
});

test("a stored session that is refused over HTTP is replaced by a join", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  const next = await reload(sim);
  const refresher = next.refresher({ storage });
  await settle();
  await next.socket.closes(1006);
  refresher.renew();
  await next.fetches[0].answers(410, { error: "ended", code: "unknown_session", status: 410, reason: "left" });
  assert.equal(refresher.state, "connecting");
  await next.nextSocket();
  await next.socket.opens();
  assert.equal(next.socket.sent[0].type, "join");
});

test("a stored session that was renewed over HTTP is ended by leave(), though no WebSocket ever opened", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  const next = await reload(sim);
  const refresher = next.refresher({ storage });
  await settle();
  await next.socket.closes(1006);
  refresher.renew();
  await next.fetches[0].answers(200, next.push({ seq: 2 }));
  await refresher.token("rtc");
  refresher.leave();
  assert.deepEqual(next.fetches.slice(1).map(({ url }) => url), ["https://calls.example.com/v1/sessions/session-1/leave"]);
  assert.deepEqual(storage.content, {});
});

test("after a reload the SDK of the new page gets no token before it has joined", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage }, { ttl: 60 });
  await sim.pass(2 * minute);
  const next = await reload(sim);
  const refresher = next.refresher({ storage });
  const client = new FakeRtcClient(next);
  const rejoin = t.mock.fn();
  bindRtc(refresher, client, { rejoin });
  const socket = await next.join({ seq: 2, action: "rejoin" });
  assert.equal(rejoin.mock.callCount(), 0);
  assert.deepEqual(socket.sent.at(-1), { type: "ack", seq: 2 });
});

test("leave() removes the resume token from the storage", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage });
  only(storage);
  refresher.leave();
  assert.deepEqual(storage.content, {});
});

test("any other end removes it too", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { socket } = await sim.live({ storage });
  await socket.endsWith("revoked");
  assert.deepEqual(storage.content, {});
});

test("close() keeps the resume token for the next page, and sends nothing to the service", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ storage });
  refresher.close();
  assert.equal(refresher.state, "ended");
  assert.deepEqual(socket.take(), []);
  sim.assertEmpty();
  await sim.pass(1 * second);
  const next = await reload(sim);
  next.refresher({ storage });
  await settle();
  await next.socket.opens();
  assert.deepEqual([next.socket.sent[0].type, next.socket.sent[0].key], ["resume", "key-1"]);
});

test("close() after leave() or another end keeps nothing", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage });
  refresher.leave();
  refresher.close();
  assert.deepEqual(storage.content, {});
});

test("after close(), leave() and wake() change nothing, and a second close() does not overwrite the next page's resume token", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage, rtc: { channel: "daily", uid: 0 } });
  refresher.close();
  const stored = storage.content[only(storage)];
  refresher.wake();
  refresher.leave();
  assert.equal(storage.content[only(storage)], stored);
  assert.deepEqual(sim.fetches, [], "the service is told nothing");
  storage.content[only(storage)] = "the next page's";
  refresher.close();
  assert.equal(storage.content[only(storage)], "the next page's");
});

test("a Refresher that is made in a listener of another's ended resumes the session that was closed", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher } = await sim.live({ storage });
  refresher.on("ended", () => void sim.refresher({ storage }));
  refresher.close();
  await settle();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "resume");
});

test("after close(), an SDK's answer does not overwrite the resume token of another page", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({ storage });
  let accept;
  refresher.bind("rtc", { renew: () => new Promise((resolve) => (accept = resolve)) });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  refresher.close();
  storage.content[only(storage)] = "the next page's";
  accept();
  await settle();
  assert.equal(storage.content[only(storage)], "the next page's");
});

test("leave() before the first answer leaves the stored session to the next Refresher", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  const next = await reload(sim);
  next.refresher({ storage }).leave(); // as React's StrictMode does, which constructs and ends each component twice
  const refresher = next.refresher({ storage });
  await settle();
  await next.socket.opens();
  assert.equal(next.socket.sent[0].type, "resume");
  refresher.leave();
});

test("a session that was superseded does not remove the resume token of the other", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  const { socket } = await sim.live({ storage });
  const name = only(storage);
  storage.content[name] = JSON.stringify({ session: "ANOTHER", key: "k", seq: 1, expiresAt: 1 });
  await socket.says({ type: "ended", reason: "superseded", accessEndsAt: 0 });
  await socket.closes(4409);
  assert.match(storage.content[name], /ANOTHER/);
});

// Two pages of one identity: only one of them can own the session.

/** Makes the page of a duplicated tab, or of a window that a page opened: it starts with a copy of the storage. */
function duplicate(sim, storage) {
  const next = new Simulation();
  Object.assign(next, { time: sim.time, keys: 100 });
  return { next, copy: tab({ ...storage.content }) };
}

const anonymous = { rtc: { channel: "daily", uid: 0 } };

for (const [what, options] of [["uid 0", anonymous], ["all channels", { rtc: { channel: "*", uid: 1001 } }], ["uid 0 and an RTM user", { ...anonymous, rtm: { userId: "ana" } }]]) {
  test(`${what}: a duplicated tab opens a session of its own, and each resumes its own after a reload`, async (t) => {
    const storage = tab();
    const sim = new Simulation(t);
    const { refresher } = await sim.live({ storage, ...options });
    const { next, copy } = duplicate(sim, storage);
    next.refresher({ storage: copy, ...options });
    const socket = await next.join({ session: "session-2" });
    assert.equal(socket.sent[0].type, "join");
    assert.equal(refresher.state, "live");
    for (const [before, kept, session] of [[sim, storage, "session-1"], [next, copy, "session-2"]]) {
      const after = await reload(before);
      after.refresher({ storage: kept, ...options });
      await settle();
      await after.socket.opens();
      assert.deepEqual([after.socket.sent[0].type, after.socket.sent[0].session], ["resume", session]);
    }
  });
}

test("uid 0: a tab that is duplicated while the first page still connects after a reload joins", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage, ...anonymous });
  const reloaded = await reload(sim);
  reloaded.refresher({ storage, ...anonymous });
  const { next, copy } = duplicate(reloaded, storage);
  next.refresher({ storage: copy, ...anonymous });
  await settle();
  await next.socket.opens();
  assert.equal(next.socket.sent[0].type, "join");
});

test("uid 0: a page that comes back from the browser's cache removes its resume token from the storage", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage, ...anonymous });
  assert.deepEqual(storage.content, {});
  sim.hide();
  only(storage);
  await sim.wake();
  assert.deepEqual(storage.content, {});
  await sim.resume({ seq: 2, key: "newest" });
  sim.hide();
  assert.equal(JSON.parse(storage.content[only(storage)]).key, "newest");
});

test("uid 0: a page that comes back does not remove another page's resume token", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage, ...anonymous });
  sim.hide();
  const name = only(storage);
  storage.content[name] = JSON.stringify({ session: "ANOTHER", key: "k", seq: 1, expiresAt: 1 });
  await sim.wake();
  assert.match(storage.content[name], /ANOTHER/);
});

test("uid 0: leave() and any other end keep nothing; close() keeps it", async (t) => {
  for (const [ends, kept] of [[(refresher) => refresher.leave(), 0], [(_, socket) => socket.endsWith("revoked"), 0], [(refresher) => refresher.close(), 1]]) {
    const storage = tab();
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live({ storage, ...anonymous });
    await ends(refresher, socket);
    sim.hide();
    assert.equal(Object.keys(storage.content).length, kept);
    sim.assertEmpty();
  }
});

test("uid 0: leave() before the first answer leaves the stored session to the next Refresher", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage, ...anonymous });
  const next = await reload(sim);
  next.refresher({ storage, ...anonymous }).leave(); // as React's StrictMode does, which constructs and ends each component twice
  next.refresher({ storage, ...anonymous });
  await settle();
  await next.socket.opens();
  assert.equal(next.socket.sent[0].type, "resume");
});

test("uid 0: where there is no page, the resume token is stored at once", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  delete sim.platform.onHide;
  await sim.live({ storage, ...anonymous });
  only(storage);
});

test("a user with a uid is one user: a duplicated tab takes the session over", async (t) => {
  const storage = tab();
  const sim = new Simulation(t);
  await sim.live({ storage });
  const { next, copy } = duplicate(sim, storage);
  next.refresher({ storage: copy });
  await settle();
  await next.socket.opens();
  assert.deepEqual([next.socket.sent[0].type, next.socket.sent[0].session], ["resume", "session-1"]);
});
