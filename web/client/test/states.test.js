// The state machines of a binding and of a session: every event in every state.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Binding } from "../binding.js";
import { bindingTransitions, sessionTransitions, transition } from "../states.js";
import { Simulation, hour, minute, second, settle } from "./fakes/index.js";

/**
 * Parses a table with a row for each event and a column for each state.
 * @returns {[state: string, event: string, next: string][]} "." in the table means that the state stays
 */
function read(table) {
  const [[, ...states], ...rows] = table.trim().split("\n").map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([event, ...cells]) => states.map((state, n) => [state, event, cells[n] === "." ? state : cells[n]]));
}

const bindingTable = read(`
  event        | idle       joined     returned  left      expired    rejoining  unbound
  tokenTaken   | joined     .          .         .         .          .          .
  joined       | returned   .          .         returned  returned   .          .
  inCall       | .          .          joined    joined    joined     joined     .
  left         | left       left       left      .         left       left       .
  failed       | left       left       left      .         .          .          .
  expired      | expired    expired    expired   expired   .          .          .
  rejoin       | rejoining  rejoining  .         .         rejoining  .          .
  rejoined     | .          .          .         .         joined     joined     .
  rejoinFailed | .          .          .         .         .          expired    .
  unbind       | unbound    unbound    unbound   unbound   unbound    unbound    .
`.replaceAll(" |", ""));

const sessionTable = read(`
  event   connecting  live   away   ended
  joined  live        .      live   .
  lost    .           away   .      .
  end     ended       ended  ended  .
`);

for (const [name, transitions, table] of [["binding", bindingTransitions, bindingTable], ["session", sessionTransitions, sessionTable]]) {
  test(`${name}: each event leads from each state to the state that is expected, and those are all events and states`, () => {
    for (const [state, event, next] of table) {
      assert.equal(transition(transitions, state, event), next, `${event} in ${state}`);
    }
    const known = table.map(([state, event]) => `${state} ${event}`);
    for (const [state, events] of Object.entries(transitions)) {
      for (const event of Object.keys(events)) assert.ok(known.includes(`${state} ${event}`), `${event} in ${state}`);
    }
    assert.deepEqual(Object.keys(transitions).sort(), [...new Set(table.map(([state]) => state))].sort());
  });
}

/** Makes a binding, with an SDK that the test controls. */
function bind() {
  const sdk = {
    inCall: false,
    refuses: false,
    rejoins: [],
    renew: () => (sdk.refuses ? Promise.reject(new Error("no")) : undefined),
    rejoin: () => new Promise((resolve, reject) => void sdk.rejoins.push({ resolve, reject })),
    isJoined: () => sdk.inCall,
  };
  const binding = new Binding(sdk, { within: (ms, promise) => promise });
  const deliver = (previousExpired) => void binding.deliver("token", previousExpired).catch(() => {});
  return { sdk, binding, deliver };
}

/**
 * For each state, a function that brings a binding into it. In `rejoining`, a call of the function `rejoin` is
 * unfinished.
 */
const reach = {
  idle: () => {},
  joined: ({ binding }) => binding.dispatch("tokenTaken"),
  returned: ({ binding }) => binding.dispatch("joined"),
  left: ({ binding }) => binding.left(),
  expired: ({ binding }) => binding.dispatch("expired"),
  rejoining: async ({ binding, deliver }) => {
    binding.dispatch("expired");
    deliver(true);
    await settle();
  },
  unbound: ({ binding }) => binding.dispatch("unbind"),
};

/**
 * For each state, a function that brings a binding into it while a call of the function `rejoin` is unfinished.
 */
const reachWithRejoin = {
  joined: async (bound) => {
    await reach.rejoining(bound);
    bound.sdk.inCall = true; // the SDK may be in the call again before the app's `rejoin` returns, for example while `rejoin` publishes the tracks
    bound.deliver(false);
    await settle();
  },
  returned: async (bound) => {
    await reachWithRejoin.left(bound);
    bound.binding.dispatch("joined");
  },
  left: async (bound) => {
    await reach.rejoining(bound);
    bound.binding.left();
  },
  expired: async (bound) => {
    await reachWithRejoin.joined(bound);
    bound.binding.dispatch("expired");
  },
  rejoining: reach.rejoining,
  unbound: async (bound) => {
    await reach.rejoining(bound);
    bound.binding.dispatch("unbind");
  },
};

const cause = {
  tokenTaken: ({ binding }) => binding.dispatch("tokenTaken"),
  joined: ({ binding }) => binding.dispatch("joined"),
  left: ({ binding }) => binding.left(),
  failed: ({ binding }) => binding.left(true),
  expired: ({ binding }) => binding.dispatch("expired"),
  unbind: ({ binding }) => binding.dispatch("unbind"),
  inCall: ({ sdk, deliver }) => {
    sdk.inCall = true;
    deliver(false);
  },
  rejoin: ({ sdk, binding, deliver }) => {
    // In `idle`, a rejoin needs an SDK that is in the call and refuses the token.
    sdk.refuses = sdk.inCall = binding.state === "idle";
    deliver(true);
  },
  rejoined: ({ sdk }) => sdk.rejoins[0].resolve(),
  rejoinFailed: ({ sdk }) => sdk.rejoins[0].reject(new Error("no")),
};

for (const [state, event, next] of bindingTable) {
  const completes = event === "rejoined" || event === "rejoinFailed";
  const reaches = completes ? reachWithRejoin[state] : reach[state];
  if (!reaches) continue; // in `idle` no rejoin begins, so none can finish
  // When the next token arrives, an SDK in the state `returned` is in the call, so the delivery causes inCall
  // before rejoin.
  const after = event === "rejoin" && state === "returned" ? "rejoining" : next;
  test(`a binding that is ${state}: ${event} leads to ${after}`, async () => {
    const bound = bind();
    await reaches(bound);
    assert.equal(bound.binding.state, state);
    const before = bound.sdk.rejoins.length;
    cause[event](bound);
    await settle();
    assert.equal(bound.binding.state, after);
    assert.equal(bound.sdk.rejoins.length - before, event === "rejoin" && after === "rejoining" && state !== "rejoining" ? 1 : 0, "calls of the app's rejoin");
  });
}

test("an SDK that can't tell whether it is in the call may log out in a rejoin", async () => {
  const { sdk, binding, deliver } = bind();
  delete sdk.isJoined;
  await reach.rejoining({ binding, deliver });
  binding.left();
  assert.equal(binding.state, "rejoining");
  sdk.rejoins[0].resolve();
  await settle();
  assert.equal(binding.state, "joined");
});

for (const [state, reaches] of Object.entries(reachWithRejoin)) {
  test(`no second rejoin begins while one is not complete: ${state}`, async () => {
    const bound = bind();
    await reaches(bound);
    assert.equal(bound.binding.state, state);
    bound.sdk.inCall = false;
    bound.deliver(true);
    await settle();
    assert.equal(bound.sdk.rejoins.length, 1);
  });
}

test("a binding that returned while its token was refused is not rejoined: it has another token", async () => {
  const { sdk, binding } = bind();
  let refuse;
  sdk.renew = () => new Promise((resolve, reject) => (refuse = reject));
  sdk.inCall = true;
  const delivery = binding.deliver("token", true);
  await settle();
  binding.left();
  binding.dispatch("joined");
  refuse(new Error("OPERATION_ABORTED"));
  await assert.rejects(delivery, /OPERATION_ABORTED/);
  assert.equal(sdk.rejoins.length, 0);
});

// The session.

const reachSession = {
  connecting: async (sim) => ({ refresher: sim.refresher() }),
  live: (sim) => sim.live(),
  away: async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.closes(1006);
    return { refresher };
  },
  ended: async (sim) => {
    const { refresher } = await sim.live();
    refresher.leave();
    return { refresher };
  },
};

/**
 * For each event of a session, a function that causes the event. After the session's end, it only tries to
 * cause the event.
 */
const causeSession = {
  joined: async (sim, refresher) => {
    if (refresher.state === "ended") sim.socket.onmessage?.({ data: JSON.stringify(sim.joined()) });
    else if (refresher.state === "live") await sim.socket.says(sim.joined({ resumed: true, seq: 2 }));
    else {
      if (refresher.state === "away") await sim.nextSocket();
      await sim.join();
    }
  },
  lost: async (sim, refresher) => {
    if (refresher.state === "ended") sim.socket.onclose?.({ code: 1006 });
    else {
      if (refresher.state === "away") await sim.nextSocket();
      await settle();
      await sim.socket.closes(1006);
    }
  },
  end: (sim, refresher) => refresher.leave(),
};

for (const [state, event, next] of sessionTable) {
  test(`a session that is ${state}: ${event} leads to ${next}, and emits ${state === next ? "nothing" : "state"}`, async (t) => {
    const sim = new Simulation(t);
    const { refresher } = await reachSession[state](sim);
    assert.equal(refresher.state, state);
    const before = sim.saw("state").length;
    await causeSession[event](sim, refresher);
    assert.equal(refresher.state, next);
    assert.deepEqual(sim.saw("state").slice(before), state === next ? [] : [{ state: next, previous: state }]);
    refresher.leave();
    sim.assertEmpty();
  });
}

// Cases that the tables above do not have.

test("an SDK that joins with a token from elsewhere is renewed, not rejoined, also if the newest bundle says rejoin", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 60 });
  const sdk = { renew: t.mock.fn(), rejoin: t.mock.fn() };
  const { joined } = refresher.bind("rtc", sdk);
  await sim.pass(2 * minute);
  await socket.says(sim.push({ seq: 2, action: "rejoin" }));
  joined();
  await settle();
  assert.deepEqual([sdk.renew.mock.callCount(), sdk.rejoin.mock.callCount()], [1, 0]);
});

test("an SDK that was removed after it had returned is left alone, though it is yet to get a token", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const sdk = { renew: t.mock.fn(), rejoin: t.mock.fn(() => Promise.reject(new Error("no network"))) };
  const { expired, joined, left } = refresher.bind("rtc", sdk);
  await refresher.token("rtc");
  expired();
  await settle();
  joined();
  left(true);
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual([sdk.renew.mock.callCount(), sdk.rejoin.mock.callCount()], [0, 1]);
});

test("an SDK that joined with a token of the previous session gets the newest token of the current one", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { seq: 7 });
  const renew = t.mock.fn();
  const { left, joined } = refresher.bind("rtc", { renew });
  await refresher.token("rtc");
  left();
  await socket.refuses(4404, "unknown_session");
  await sim.nextSocket();
  const message = sim.joined({ session: "session-2", seq: 1, expiresAt: sim.seconds(2 * hour) });
  await sim.socket.opens();
  await sim.socket.says(message);
  joined(); // the SDK has joined with its old token
  await settle();
  assert.deepEqual(renew.mock.calls.map(({ arguments: [token] }) => token), [message.tokens.rtc.token]);
  await sim.pass(second);
});

test("an SDK that was bound in the call, with a token from elsewhere, is renewed after it was rejoined", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const sdk = { renew: t.mock.fn(), rejoin: t.mock.fn() };
  const { expired } = refresher.bind("rtc", sdk);
  expired();
  await settle();
  await socket.says(sim.push({ seq: 2 }));
  assert.deepEqual([sdk.renew.mock.callCount(), sdk.rejoin.mock.callCount()], [1, 1]);
});
