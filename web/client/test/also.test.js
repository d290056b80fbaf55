// also(): a second identity of the same person, whose Refresher belongs to the first.

import assert from "node:assert/strict";
import { test } from "node:test";

import { also } from "../also.js";
import { Simulation, second, settle } from "./fakes/index.js";

const screen = { rtc: { channel: "daily", uid: 2001, role: "publisher" } };

async function both(t, options = {}) {
  const sim = new Simulation(t);
  const { refresher: camera, socket } = await sim.live(options);
  const share = also(camera, { url: "https://calls.example.com", storage: null, platform: sim.platform, ...options, ...screen });
  const shareSocket = await sim.join({ session: "session-2", uid: 2001 });
  return { sim, camera, share, socket, shareSocket };
}

const sent = (socket) => socket.sent.map(({ type }) => type);

test("the second has a connection, an identity and a session of its own", async (t) => {
  const { sim, camera, share, socket, shareSocket } = await both(t);
  assert.notEqual(socket, shareSocket);
  assert.deepEqual(shareSocket.sent[0].rtc, screen.rtc);
  assert.deepEqual([camera.session, share.session], ["session-1", "session-2"]);
  assert.notEqual(await camera.token("rtc"), await share.token("rtc"));
  share.leave();
  camera.leave();
  sim.assertEmpty();
});

for (const hidden of [false, true]) {
  test(`leaving the first leaves both, from a ${hidden ? "hidden" : "visible"} page`, async (t) => {
    const { sim, camera, share, socket, shareSocket } = await both(t);
    sim.hidden = hidden;
    camera.leave();
    assert.equal(share.state, "ended");
    assert.deepEqual([sent(socket).at(-1), sent(shareSocket).at(-1)], ["leave", "leave"]);
    assert.deepEqual(sim.fetches.map(({ url }) => url.split("/").slice(-2).join(" ")), hidden ? ["session-1 leave", "session-2 leave"] : []);
    await assert.rejects(share.token("rtc"), { reason: "left" });
    sim.assertEmpty();
  });
}

test("closing the first closes both, and keeps both sessions in the storage", async (t) => {
  const items = new Map();
  const storage = { getItem: (name) => items.get(name) ?? null, setItem: (name, value) => void items.set(name, value), removeItem: (name) => void items.delete(name) };
  const { sim, camera, share, shareSocket } = await both(t, { storage });
  camera.close();
  assert.equal(share.state, "ended");
  assert.ok(!sent(shareSocket).includes("leave"));
  assert.deepEqual([...items.values()].map((text) => JSON.parse(text).session).sort(), ["session-1", "session-2"]);
  sim.assertEmpty();
});

for (const [reason, code] of [["revoked", 4410], ["denied", 4410], ["superseded", 4409]]) {
  test(`if the service ends the first as ${reason}, the second is left`, async (t) => {
    const { sim, camera, share, socket, shareSocket } = await both(t);
    await socket.endsWith(reason, code);
    assert.deepEqual([camera.state, share.state], ["ended", "ended"]);
    assert.equal(sent(shareSocket).at(-1), "leave");
    sim.assertEmpty();
  });
}

test("the second may leave, or be ended by the service, and the first goes on", async (t) => {
  for (const ends of [({ share }) => share.leave(), ({ shareSocket }) => shareSocket.endsWith("revoked")]) {
    const pair = await both(t);
    await ends(pair);
    assert.deepEqual([pair.camera.state, pair.share.state], ["live", "ended"]);
    assert.equal(pair.sim.saw("ended").length, 0, "the first says nothing of it");
    pair.camera.leave();
    assert.equal(sent(pair.shareSocket).filter((type) => type === "leave").length, sent(pair.shareSocket).includes("leave") ? 1 : 0);
    pair.sim.assertEmpty();
  }
});

test("refused, lost and error of the second are also events of the first, with the second's identity; its other events are not", async (t) => {
  const { sim, share, shareSocket } = await both(t);
  sim.events.length = 0;
  share.bind("rtc", { renew: async () => {
    throw Object.assign(new Error("no"), { code: "REFUSED" });
  } });
  await share.token("rtc");
  await shareSocket.says(sim.push({ seq: 2, uid: 2001 }));
  await shareSocket.says({ type: "error", code: "bad_request", message: "no such seq" });
  await shareSocket.closes(1006);
  await settle();
  assert.deepEqual(sim.events.map(({ event }) => event), ["refused", "error", "lost"]);
  const [refused, error, lost] = sim.events.map(({ detail }) => detail);
  assert.equal(refused.code, "REFUSED");
  assert.ok(error instanceof Error && error.message === "no such seq");
  assert.equal(lost.reason, "closed with 1006");
  for (const detail of [refused, error, lost]) assert.equal(detail.identity.rtc.uid, 2001);
});

for (const [what, thrown, message] of [
  ["a text", "nobody is logged in", "nobody is logged in"],
  ["a frozen error", Object.freeze(new Error("no credential")), "no credential"],
  ["an error that the first reports, too", Object.assign(new Error("no credential"), { code: "OFFLINE" }), "no credential"],
]) {
  test(`${what} is not changed: the first reports a new error, with the second's identity`, async (t) => {
    const sim = new Simulation(t);
    const credential = () => Promise.reject(thrown);
    const camera = sim.refresher({ credential });
    const share = also(camera, { url: "https://calls.example.com", storage: null, platform: sim.platform, credential, ...screen });
    await sim.pass(0);
    const errors = sim.saw("error");
    assert.equal(errors[0], thrown);
    assert.equal(errors[0].identity, undefined);
    assert.ok(errors[1] instanceof Error);
    const { code, identity, cause } = errors[1];
    assert.deepEqual([errors[1].message, code, identity, cause], [message, thrown.code, share.identity, thrown]);
    camera.leave();
    sim.assertEmpty();
  });
}

test("a failure of a third that belongs to the second is an event of the first, with the third's identity", async (t) => {
  const { sim, share } = await both(t);
  also(share, { url: "https://calls.example.com", storage: null, platform: sim.platform, rtc: { channel: "daily", uid: 3001 } });
  const socket = await sim.join({ session: "session-3", uid: 3001 });
  await socket.says({ type: "error", code: "bad_request", message: "no such seq" });
  await socket.closes(1006);
  assert.deepEqual(["error", "lost"].flatMap((event) => sim.saw(event).map(({ identity }) => identity.rtc.uid)), [3001, 3001]);
});

test("the first keeps nothing of a second that has ended", async (t) => {
  const { sim, camera, share } = await both(t);
  share.leave();
  const removed = t.mock.fn();
  const on = t.mock.method(camera, "on", () => removed);
  const another = also(camera, { url: "https://calls.example.com", storage: null, platform: sim.platform, ...screen });
  another.leave();
  assert.equal(removed.mock.callCount(), on.mock.callCount());
});

test("a second one of a Refresher that has ended has ended", async (t) => {
  const sim = new Simulation(t);
  const { refresher: camera } = await sim.live();
  camera.leave();
  const share = also(camera, { url: "https://calls.example.com", storage: null, platform: sim.platform, ...screen });
  await settle();
  assert.equal(share.state, "ended");
  sim.assertEmpty();
});
