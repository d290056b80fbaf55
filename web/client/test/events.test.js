// States, events, and the end of a call.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRtc } from "../bindings/rtc.js";
import { FakeRtcClient, FakeRtmClient, Simulation, hour, minute, second, settle } from "./fakes/index.js";

const states = (sim) => sim.saw("state").map(({ previous, state }) => `${previous} > ${state}`);

// States.

test("connecting, live, away, live, ended", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const seen = [refresher.state];
  refresher.on("state", () => seen.push(refresher.state));
  await sim.join();
  await sim.resume({ seq: 2 });
  refresher.leave();
  assert.deepEqual(states(sim), ["connecting > live", "live > away", "away > live", "live > ended"]);
  assert.deepEqual(seen, ["connecting", "live", "away", "live", "ended"]);
});

test("connecting until the first answer, however many attempts that takes, and without an event for each", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  await settle();
  for (let n = 0; n < 4; n++) {
    await sim.socket.closes(1006);
    assert.equal(refresher.state, "connecting");
    await sim.nextSocket();
  }
  assert.deepEqual(states(sim), []);
  assert.equal(sim.saw("lost").length, 4);
});

test("away until the next answer", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  for (let n = 0; n < 4; n++) {
    await sim.socket.closes(1006);
    await sim.nextSocket();
  }
  await sim.socket.opens();
  assert.equal(refresher.state, "away");
  assert.deepEqual(states(sim), ["connecting > live", "live > away"]);
});

// Listeners.

test("on() returns a function that removes that listener only", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const [one, other] = [t.mock.fn(), t.mock.fn()];
  const off = refresher.on("state", one);
  refresher.on("state", other);
  off();
  off();
  await sim.join();
  assert.deepEqual([one.mock.callCount(), other.mock.callCount()], [0, 1]);
});

test("a listener that removes itself while it is called does not affect the others", async (t) => {
  const sim = new Simulation(t);
  const refresher = sim.refresher();
  const calls = [];
  const off = refresher.on("state", () => {
    calls.push("one");
    off();
  });
  refresher.on("state", () => calls.push("other"));
  await sim.join();
  await sim.resume({ seq: 2 });
  assert.deepEqual(calls, ["one", "other", "other", "other"]);
});

test("an SDK that throws when its listeners are removed does not keep the session from its end, and is reported", async (t) => {
  const reported = [];
  t.mock.method(globalThis, "queueMicrotask", (run) => assert.throws(run, (error) => reported.push(error) > 0));
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  const mistake = new Error("the engine is released");
  const stop = t.mock.fn(() => {
    throw mistake;
  });
  const { unbind } = refresher.bind("rtc", { renew: () => {}, listen: () => stop });
  refresher.bind("rtc", { renew: () => {}, listen: () => stop });
  unbind();
  refresher.leave();
  assert.equal(refresher.state, "ended");
  assert.equal(sim.saw("ended").length, 1);
  assert.equal(stop.mock.callCount(), 2);
  assert.deepEqual(reported, [mistake, mistake]);
  sim.assertEmpty();
});

test("a listener that throws stops neither the others nor the library, and is reported", async (t) => {
  const reported = [];
  t.mock.method(globalThis, "queueMicrotask", (run) => assert.throws(run, (error) => reported.push(error) > 0));
  const sim = new Simulation(t);
  const mistake = new Error("a mistake in the app");
  const after = [];
  const refresher = sim.refresher({ credential: () => Promise.reject(new Error("no credential")) });
  const client = new FakeRtcClient(sim);
  bindRtc(refresher, client);
  for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
    refresher.on(event, () => {
      throw mistake;
    });
    refresher.on(event, () => after.push(event));
  }
  await settle();
  refresher.leave();
  const { refresher: another, socket } = await sim.live();
  for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
    another.on(event, () => {
      throw mistake;
    });
    another.on(event, () => after.push(event));
  }
  const other = new FakeRtcClient(sim);
  bindRtc(another, other);
  await other.join(await another.token("rtc"));
  await socket.says(sim.push({ seq: 2 }));
  other.refusal = { code: 1 };
  await socket.says(sim.push({ seq: 3 }));
  await socket.says({ type: "error", code: "bad_request", message: "no" });
  await sim.resume({ seq: 4 });
  await sim.socket.endsWith("revoked");
  assert.equal(another.state, "ended");
  assert.deepEqual(new Set(after), new Set(["state", "tokens", "renewed", "refused", "lost", "ended", "error"]));
  assert.equal(reported.length, after.length);
  assert.deepEqual(new Set(reported), new Set([mistake]));
  sim.assertEmpty();
});

/** Causes every event in turn, until the call has ended. */
async function history(sim, refresher, client) {
  const say = async (message) => sim.socket?.readyState === 1 && sim.socket.says(message);
  const close = async (code) => sim.socket?.readyState < 2 && sim.socket.closes(code);
  const open = async () => {
    for (let n = 0; n < 100 && sim.socket?.readyState !== 0; n++) await sim.pass(10);
    if (sim.socket?.readyState === 0) await sim.socket.opens();
  };
  await open();
  await say(sim.joined());
  if (refresher.state !== "ended") await client.join(await refresher.token("rtc"));
  await say(sim.push({ seq: 2 }));
  client.refusal = { code: "X", message: "no" };
  await say(sim.push({ seq: 3 }));
  await say(sim.push({ seq: 4 }));
  client.refusal = null;
  await say({ type: "error", code: "bad_request", message: "no" });
  await say({ type: "pong", now: sim.time });
  await close(1006);
  await open();
  await say(sim.joined({ seq: 5, resumed: true, action: "rejoin" }));
  client.expires();
  await sim.pass(1 * second);
  await say({ type: "ended", reason: "revoked", accessEndsAt: 0 });
  await close(4410);
  await sim.pass(minute);
}

for (const event of ["state", "tokens", "renewed", "refused", "lost", "ended", "error"]) {
  for (const method of ["leave", "close", "renew", "wake"]) {
    for (const nth of [1, 2]) {
      test(`${method}() in a listener of ${event}, at its ${nth === 1 ? "first" : "second"} time`, async (t) => {
        const sim = new Simulation(t);
        let failures = 1;
        const credential = async () => {
          if (failures-- > 0) throw new Error("not yet");
          return "c";
        };
        const refresher = sim.refresher({ credential });
        const client = new FakeRtcClient(sim);
        bindRtc(refresher, client, { rejoin: (token) => client.join(token) });
        const byHand = [];
        refresher.bind("rtc", { renew: (token) => void byHand.push(token), rejoin: (token) => void byHand.push(token) });
        let times = 0;
        let handed = -1;
        refresher.on(event, () => {
          if (++times !== nth) return;
          refresher[method]();
          if (refresher.state === "ended") handed = byHand.length;
        });
        await history(sim, refresher, client);
        assert.ok(times >= Math.min(nth, event === "ended" ? 1 : 2), `${event} came ${times} times`);
        assert.equal(refresher.state, "ended");
        assert.equal(sim.saw("ended").length, 1);
        const { reason } = sim.saw("ended")[0];
        assert.equal(reason, event === "ended" || times < nth || method === "renew" || method === "wake" ? "revoked" : { leave: "left", close: "closed" }[method]);
        const order = sim.events.map((seen) => seen.event);
        const last = order.lastIndexOf("ended");
        assert.deepEqual(order.slice(last + 1).filter((name) => name !== event), [], "nothing comes after the end");
        if (handed >= 0) assert.ok(byHand.length <= handed + 1, "nothing is handed over after the end");
        assert.equal(client.listeners, 0);
        sim.assertEmpty();
      });
    }
  }
}

for (const method of ["leave", "close"]) {
  test(`${method}() from inside an SDK, which then neither resolves nor leaves a timer`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    refresher.bind("rtc", {
      renew: () => {
        refresher[method]();
        return new Promise(() => {});
      },
    });
    await refresher.token("rtc");
    await socket.says(sim.push({ seq: 2 }));
    sim.assertEmpty();
  });

  test(`${method}() from inside the app's rejoin`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, socket } = await sim.live();
    refresher.bind("rtc", { renew: () => {}, rejoin: () => void refresher[method]() });
    await refresher.token("rtc");
    await socket.says(sim.push({ seq: 2, action: "rejoin" }));
    assert.deepEqual(socket.take(), method === "leave" ? [{ type: "leave" }] : []);
    assert.equal(sim.events.at(-1).event, "ended", "nothing comes after the end");
    sim.assertEmpty();
  });

  test(`${method}() from inside the credential's function`, async (t) => {
    const sim = new Simulation(t);
    let calls = 0;
    const refresher = sim.refresher({
      credential: () => {
        if (++calls === 2) refresher[method]();
        return calls === 1 ? Promise.reject(new Error("not yet")) : new Promise(() => {});
      },
    });
    await sim.pass(minute);
    assert.equal(calls, 2);
    assert.equal(sim.sockets.length, 0);
    sim.assertEmpty();
  });
}

// The end.

/** Situations in which leave() or close() is called. Each function returns the messages that leave() must send. */
const middles = {
  "while the credential is fetched": async (sim) => {
    const refresher = sim.refresher({ credential: () => new Promise(() => {}) });
    await settle();
    return { refresher, sends: undefined };
  },
  "while the first socket opens": async (sim) => {
    const refresher = sim.refresher();
    await settle();
    return { refresher, sends: [] };
  },
  "while the join is not answered yet": async (sim) => {
    const refresher = sim.refresher();
    await settle();
    await sim.socket.opens();
    sim.socket.take();
    return { refresher, sends: [{ type: "leave" }] };
  },
  "while it waits for the next attempt, before any session": async (sim) => {
    const refresher = sim.refresher();
    await settle();
    await sim.socket.closes(1006);
    return { refresher, sends: [] };
  },
  "while live": async (sim) => {
    const { refresher } = await sim.live();
    return { refresher, sends: [{ type: "leave" }] };
  },
  "while it looks whether anybody is there": async (sim) => {
    const { refresher, socket } = await sim.live();
    socket.answersPings = false;
    await sim.wake();
    return { refresher, sends: [{ type: "leave" }] };
  },
  "while an SDK has tokens": async (sim) => {
    const { refresher, socket } = await sim.live();
    refresher.bind("rtc", { renew: () => new Promise(() => {}) });
    await refresher.token("rtc");
    await socket.says(sim.push({ seq: 2 }));
    await socket.says(sim.push({ seq: 3 }));
    return { refresher, sends: [{ type: "leave" }] };
  },
  "while it was asked to move": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.says({ type: "reconnect", afterMs: hour, reason: "drain" });
    return { refresher, sends: [{ type: "leave" }] };
  },
  "while away": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.closes(1006);
    return { refresher, sends: [] };
  },
  "while away and asked to wait": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.says({ type: "reconnect", afterMs: hour, reason: "overload" });
    await socket.closes(1013);
    return { refresher, sends: [] };
  },
  "while the next socket opens": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.closes(1006);
    await sim.nextSocket();
    return { refresher, sends: [] };
  },
  "while the resume is not answered yet": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.closes(1006);
    await sim.nextSocket();
    await sim.socket.opens();
    sim.socket.take();
    return { refresher, sends: [{ type: "leave" }] };
  },
  "while HTTP is asked": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.closes(1006);
    refresher.renew();
    return { refresher, sends: [] };
  },
  "while HTTP is waited with": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.closes(1006);
    refresher.renew();
    await sim.fetches[0].answers(503, {}, { "retry-after": "10" });
    return { refresher, sends: [] };
  },
  "after the end": async (sim) => {
    const { refresher, socket } = await sim.live();
    await socket.endsWith("revoked");
    return { refresher, sends: [] };
  },
};

for (const [when, begin] of Object.entries(middles)) {
  test(`leave() ${when}: tells the service if a socket is open, and keeps no timers, sockets or listeners`, async (t) => {
    const sim = new Simulation(t);
    const { refresher, sends } = await begin(sim);
    const [client, rtm] = [new FakeRtcClient(sim), new FakeRtmClient(sim)];
    const unbind = bindRtc(refresher, client);
    const waits = refresher.token("rtc").catch(({ reason }) => reason);
    refresher.leave();
    refresher.leave();
    assert.equal(refresher.state, "ended");
    assert.equal(sim.saw("ended").length, 1);
    assert.deepEqual(sim.socket?.take(), sends);
    assert.equal(client.listeners + rtm.listeners, 0);
    await settle();
    sim.assertEmpty();
    const events = sim.events.length;
    const { length } = sim.sockets;
    await sim.pass(2 * hour);
    await sim.wake();
    refresher.wake();
    refresher.renew();
    unbind();
    assert.equal(sim.sockets.length, length);
    assert.equal(sim.events.length, events);
    sim.assertEmpty();
    assert.ok(await waits);
  });

  test(`close() ${when}: sends nothing, and keeps no timers, sockets or listeners`, async (t) => {
    const sim = new Simulation(t);
    const { refresher } = await begin(sim);
    refresher.close();
    assert.equal(refresher.state, "ended");
    assert.deepEqual(sim.socket?.take().filter(({ type }) => type === "leave") ?? [], []);
    await settle();
    sim.assertEmpty();
    const requests = sim.fetches.length;
    await sim.pass(2 * hour);
    refresher.renew();
    refresher.wake();
    assert.equal(sim.fetches.length, requests);
    sim.assertEmpty();
  });
}

test("leave() ends with \"left\", close() with \"closed\"; the tokens work until they expire", async (t) => {
  for (const [method, reason] of [["leave", "left"], ["close", "closed"]]) {
    const sim = new Simulation(t);
    const { refresher } = await sim.live();
    const { expiresAt } = refresher;
    refresher[method]();
    assert.deepEqual(sim.saw("ended"), [{ reason, code: 1000, message: "", accessEndsAt: expiresAt }]);
    assert.equal(sim.sockets[0].closedWith, 4000);
  }
});

test("the state is `ended` already when the event comes", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  const seen = [];
  refresher.on("ended", () => seen.push(refresher.state, refresher.session));
  refresher.leave();
  assert.deepEqual(seen, ["ended", null]);
});

test("an SDK that is bound after the end keeps no listeners, and gets no tokens", async (t) => {
  const sim = new Simulation(t);
  const { refresher } = await sim.live();
  refresher.leave();
  const [client, rejoin] = [new FakeRtcClient(sim), t.mock.fn()];
  bindRtc(refresher, client, { rejoin })();
  bindRtc(refresher, client, { rejoin });
  assert.equal(client.listeners, 0);
  const { expired, willExpire, unbind } = refresher.bind("rtc", { renew: rejoin, rejoin });
  expired();
  willExpire();
  await settle();
  unbind();
  assert.equal(rejoin.mock.callCount(), 0);
  sim.assertEmpty();
});

test("an SDK that was bound by hand gets no tokens after the end", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const handed = [];
  let accept;
  const { expired } = refresher.bind("rtc", { renew: (token) => new Promise((resolve) => (handed.push(token), (accept = resolve))), rejoin: (token) => void handed.push(token) });
  await refresher.token("rtc");
  await socket.says(sim.push({ seq: 2 }));
  await socket.says(sim.push({ seq: 3 }));
  refresher.leave();
  accept();
  expired();
  await settle();
  assert.equal(handed.length, 1);
  sim.assertEmpty();
});

test("the reports of an unbound SDK are ignored", async (t) => {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live();
  const rejoin = t.mock.fn();
  const { expired, unbind } = refresher.bind("rtc", { renew: () => {}, rejoin });
  await refresher.token("rtc");
  unbind();
  expired();
  await settle();
  assert.deepEqual(socket.take(), []);
  assert.equal(rejoin.mock.callCount(), 0);
});

// Events of the page itself.

test("in a page, online, pageshow and a page that becomes visible wake the client, until the end", async (t) => {
  t.after(() => {
    delete globalThis.window;
    delete globalThis.document;
  });
  const heard = new Map();
  const target = (name) => ({
    addEventListener: (event, listener) => void heard.set(`${name} ${event}`, listener),
    removeEventListener: (event, listener) => heard.get(`${name} ${event}`) === listener && void heard.delete(`${name} ${event}`),
  });
  globalThis.window = target("window");
  globalThis.document = { ...target("document"), visibilityState: "visible" };
  const sim = new Simulation(t);
  delete sim.platform.onWake;
  const { refresher, socket } = await sim.live();
  assert.deepEqual([...heard.keys()].sort(), ["document visibilitychange", "window online", "window pageshow"]);
  let pings = 0;
  for (const listener of heard.values()) {
    listener({});
    assert.equal(socket.pings.length, ++pings);
  }
  document.visibilityState = "hidden";
  heard.get("document visibilitychange")({});
  assert.equal(socket.pings.length, pings);
  refresher.leave();
  assert.equal(heard.size, 0);
});

test("without window and document, only wake() wakes the client", async (t) => {
  t.after(() => {
    delete globalThis.window;
    delete globalThis.document;
  });
  for (const surroundings of [{}, { window: {} }, { window: { addEventListener: () => {} } }, { document: {} }, { window: {}, document: { addEventListener: () => {} } }]) {
    delete globalThis.window;
    delete globalThis.document;
    Object.assign(globalThis, surroundings);
    const sim = new Simulation(t);
    delete sim.platform.onWake;
    const { refresher, socket } = await sim.live();
    refresher.wake();
    assert.equal(socket.pings.length, 1);
    refresher.leave();
    sim.assertEmpty();
  }
});

test("onWake of the option platform is called as its method", async (t) => {
  const sim = new Simulation(t);
  const { onWake } = sim.platform;
  const platform = {
    ...sim.platform,
    subscribe: onWake,
    onWake(wake) {
      return this.subscribe(wake);
    },
  };
  const { refresher, socket } = await sim.live({ platform });
  await sim.wake();
  assert.equal(socket.pings.length, 1);
  refresher.leave();
  sim.assertEmpty();
});
