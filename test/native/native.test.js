// bindEngine with the engines and types of react-native-agora and agora-electron-sdk, whose native part is
// simulated. Also checks the enums and types of agora-react-native-rtm on which bindRtm depends.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";

import { bindEngine } from "../../web/client/bindings/native.js";
import { FakeNativeRtmClient, Simulation, second, settle } from "../../web/client/test/fakes/index.js";
import { Engine, reasons, states } from "./engine.js";
import { load } from "./native-part.js";

const run = promisify(execFile);
const require = createRequire(import.meta.url);
globalThis.__DEV__ = false; // a global that React Native defines
const here = new URL(".", import.meta.url).pathname;
const client = new URL("../../web/client", import.meta.url).pathname;

const sdks = ["react-native-agora", "agora-electron-sdk"];

test("bindEngine takes the engines of both SDKs, and the README's examples hold, by tsc --strict and the SDKs' types", async (t) => {
  const app = await mkdtemp(join(tmpdir(), "refresher-native-"));
  t.after(() => rm(app, { recursive: true }));
  await symlink(join(here, "node_modules"), join(app, "node_modules"));
  await writeFile(join(app, "package.json"), `{"type": "module"}`);
  await cp(join(here, "surroundings.d.ts"), join(app, "surroundings.d.ts"));
  const readme = await readFile(join(client, "README.md"), "utf8");
  const [bindsMain = "", bindsEx = "", bindsRtm = "", ...more] = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.deepEqual(more, []);
  for (const sdk of sdks) {
    await writeFile(join(app, `${sdk}.ts`), `
      import type { Refresher } from "@refresher/client";
      declare const [refresher, another]: Refresher[];
      ${bindsMain.replaceAll("react-native-agora", sdk)}
      ${bindsEx}`);
  }
  await writeFile(join(app, "rtm.ts"), `
    import type { RTMClient } from "agora-react-native-rtm";
    import type { Platform } from "@refresher/client";
    import { bindStreamChannel, type RtmClient } from "@refresher/client/rtm";
    declare const [appId, userId, credential]: string[];
    declare const platform: Partial<Platform>;
    ${bindsRtm}
    const asRtm: RtmClient = rtm satisfies RTMClient;
    bindStreamChannel(refresher, asRtm, "room");`);
  await writeFile(join(app, "tsconfig.json"), JSON.stringify({
    compilerOptions: {
      strict: true, noEmit: true, allowJs: true, checkJs: true, target: "es2022", module: "esnext", moduleResolution: "bundler",
      lib: ["es2023", "dom"], types: [], skipLibCheck: true, allowSyntheticDefaultImports: true,
      paths: { "@refresher/client": [join(client, "index.js")], "@refresher/client/*": [join(client, "bindings/*.js")] },
    },
    include: ["*.ts", "*.js"],
  }));
  const { stdout } = await run(join(here, "node_modules/.bin/tsc"), ["-p", app], { cwd: app }).catch((error) => error);
  assert.equal(stdout, "");
});

test("the SDKs' states and reasons of a connection have the numbers that bindEngine goes by", () => {
  for (const name of sdks) {
    const { ConnectionStateType: state, ConnectionChangedReasonType: reason } = load(name).sdk;
    assert.deepEqual(states, { disconnected: state.ConnectionStateDisconnected, connected: state.ConnectionStateConnected, failed: state.ConnectionStateFailed });
    assert.deepEqual(reasons, {
      joined: reason.ConnectionChangedJoinSuccess, banned: reason.ConnectionChangedBannedByServer, left: reason.ConnectionChangedLeaveChannel,
      invalidToken: reason.ConnectionChangedInvalidToken, tokenExpired: reason.ConnectionChangedTokenExpired,
    });
    assert.equal(state.ConnectionStateReconnecting, 4);
  }
});

const main = { channelId: "daily", localUid: 1001 };
const second_ = { channelId: "weekly", localUid: 1001 };

/** Opens a live session whose engine is in the call, bound by bindEngine. */
async function inCall(t, sdk, { ex = false, connection = main } = {}) {
  const sim = new Simulation(t);
  const { refresher, socket } = await sim.live({}, { ttl: 600, renewBefore: 60 });
  const engine = new Engine(sdk, main);
  const unbind = bindEngine(refresher, engine.sdk, connection, { ex });
  await refresher.token("rtc");
  engine.becomes(ex ? second_ : main, states.connected, reasons.joined);
  const push = async (fields) => {
    const message = sim.push({ ttl: 600, ...fields });
    await socket.says(message);
    return message.tokens.rtc.token;
  };
  return { sim, refresher, socket, engine, unbind, push };
}

for (const sdk of sdks) {
  describe(sdk, () => {
    test("renewToken is acked when the network took the token", async (t) => {
      const { socket, engine, push } = await inCall(t, sdk);
      const token = await push({ seq: 2 });
      assert.deepEqual(engine.renewals, [{ name: "renewToken", params: { token } }]);
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
    });

    test("a result that comes while renewToken is called counts, too", async (t) => {
      const { socket, engine, push } = await inCall(t, sdk);
      engine.result = null;
      const { sdk: agora } = engine;
      t.mock.method(agora, "renewToken", (token) => {
        engine.says("onRenewTokenResult", main, { token, code: 0 });
        return 0;
      });
      await push({ seq: 2 });
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
    });

    test("a negative number that renewToken returns is a nack with that number", async (t) => {
      const { socket, engine, push } = await inCall(t, sdk);
      engine.returns = -110;
      await push({ seq: 2 });
      assert.deepEqual(socket.take().map(({ type, seq, code }) => [type, seq, code]), [["nack", 2, "-110"]]);
      engine.returns = 0;
      await push({ seq: 3 });
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 3 }]);
    });

    test("a refusal by onRenewTokenResult is a nack with its code", async (t) => {
      const { socket, engine, push } = await inCall(t, sdk);
      engine.result = 4;
      await push({ seq: 2 });
      assert.deepEqual(socket.take().map(({ type, seq, code }) => [type, seq, code]), [["nack", 2, "4"]]);
    });

    test("a connection of joinChannelEx is renewed by updateChannelMediaOptionsEx, whose negative numbers are nacks", async (t) => {
      const { socket, engine, push } = await inCall(t, sdk, { ex: true, connection: second_ });
      const token = await push({ seq: 2 });
      assert.deepEqual(engine.renewals, [{ name: "updateChannelMediaOptionsEx", params: { options: { token }, connection: second_ } }]);
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
      engine.returns = -8;
      await push({ seq: 3 });
      assert.deepEqual(socket.take().map(({ type, seq, code }) => [type, seq, code]), [["nack", 3, "-8"]]);
    });

    test("its warning asks, and that of another connection does not", async (t) => {
      const { sim, socket, engine } = await inCall(t, sdk);
      await sim.pass(541 * second);
      engine.says("onTokenPrivilegeWillExpire", second_, { token: "007" });
      assert.deepEqual(socket.take(), []);
      engine.says("onTokenPrivilegeWillExpire", main, { token: "007" });
      assert.deepEqual(socket.take(), [{ type: "renew" }]);
    });

    test("when its token ran out it is handed the newest, by renewToken", async (t) => {
      const { engine, push } = await inCall(t, sdk);
      const token = await push({ seq: 2 });
      engine.becomes(main, states.failed, reasons.tokenExpired);
      engine.says("onRequestToken", second_);
      await settle();
      assert.equal(engine.renewals.length, 1);
      engine.says("onRequestToken", main);
      await settle();
      assert.deepEqual(engine.renewals.at(-1), { name: "renewToken", params: { token } });
      assert.equal(engine.renewals.length, 2);
    });

    for (const [what, became, why] of [["left", states.disconnected, reasons.left], ["was banned", states.failed, reasons.banned]]) {
      test(`a user who ${what} gets no tokens until they join again; another connection's end changes nothing`, async (t) => {
        const { sim, socket, engine, push } = await inCall(t, sdk);
        engine.becomes(second_, became, why);
        await push({ seq: 2 });
        assert.equal(engine.renewals.length, 1);
        engine.becomes(main, became, why);
        await push({ seq: 3, action: "rejoin" });
        assert.equal(engine.renewals.length, 1);
        assert.deepEqual(sim.saw("renewed").at(-1).services, []);
        engine.becomes(main, states.connected, reasons.joined);
        await settle();
        assert.equal(engine.renewals.length, 2);
        assert.deepEqual(socket.take().map(({ type }) => type), ["ack", "ack", "ack"]);
      });
    }

    test("a result that never comes is a refusal after 7 s, and the next bundle is handed over", async (t) => {
      t.mock.timers.enable({ apis: ["setTimeout"] });
      const { socket, engine, push } = await inCall(t, sdk);
      engine.result = null;
      engine.becomes(main, states.failed, reasons.tokenExpired);
      engine.says("onRequestToken", main);
      await settle();
      t.mock.timers.tick(7 * second);
      await settle();
      assert.deepEqual(socket.take(), [{ type: "nack", seq: 1, code: "TIMEOUT", message: "no onRenewTokenResult" }]);
      engine.result = 0;
      const token = await push({ seq: 2 });
      assert.deepEqual(engine.renewals.at(-1), { name: "renewToken", params: { token } });
      assert.deepEqual(socket.take(), [{ type: "ack", seq: 2 }]);
    });

    test("a renewal after its token ran out that ends in FAILED is tried again with the next bundle", async (t) => {
      const { engine, push } = await inCall(t, sdk);
      engine.returns = -17;
      engine.becomes(main, states.failed, reasons.tokenExpired);
      engine.says("onRequestToken", main);
      await settle();
      engine.becomes(main, states.failed, reasons.invalidToken);
      engine.returns = 0;
      assert.equal(engine.renewals.length, 1);
      await push({ seq: 2 });
      assert.equal(engine.renewals.length, 2);
    });

    test("a uid that the SDK chose, for 0, is its own", async (t) => {
      const { sim, socket, engine } = await inCall(t, sdk, { connection: { channelId: "daily" } });
      await sim.pass(541 * second);
      engine.says("onTokenPrivilegeWillExpire", { channelId: "daily", localUid: 778899 }, { token: "007" });
      assert.deepEqual(socket.take(), [{ type: "renew" }]);
    });

    test("unbound, it is left alone", async (t) => {
      const { engine, unbind, push } = await inCall(t, sdk);
      engine.says("onTokenPrivilegeWillExpire", main, { token: "007" });
      unbind();
      engine.says("onRequestToken", main);
      await push({ seq: 2 });
      assert.deepEqual(engine.renewals, []);
    });
  });
}

test("the library and its fake use the numbers of agora-react-native-rtm's enums", async (t) => {
  const { RtmLinkState, RtmServiceType, RtmLinkStateChangeReason } = require("agora-react-native-rtm/lib/commonjs/legacy/AgoraRtmBase.js");
  const sim = new Simulation(t);
  const rtm = new FakeNativeRtmClient(sim);
  const seen = [];
  rtm.addEventListener("linkState", ({ currentState, serviceType, reasonCode }) => seen.push([currentState, serviceType, reasonCode]));
  rtm.becomes("CONNECTED", "LOGIN_SUCCESS");
  rtm.becomes("FAILED", "TOKEN_EXPIRED");
  rtm.becomes("IDLE", "LOGOUT");
  rtm.streams("room", "IDLE", "LEAVE");
  const { message, stream } = RtmServiceType;
  assert.deepEqual(seen, [
    [RtmLinkState.connected, message, RtmLinkStateChangeReason.loginSuccess],
    [RtmLinkState.failed, message, RtmLinkStateChangeReason.tokenExpired],
    [RtmLinkState.idle, message, RtmLinkStateChangeReason.logout],
    [RtmLinkState.idle, stream, RtmLinkStateChangeReason.leave],
  ]);
});

test("agora-react-native-rtm hands a linkState to its listeners with the numbers and names that the native part sent", () => {
  const { processRTMClientEventMap } = require("agora-react-native-rtm/lib/commonjs/api/RTMEvents.js");
  const event = { currentState: 5, previousState: 2, serviceType: 1, operation: 4, reasonCode: 17, reason: "", affectedChannels: ["room"], affectedChannelCount: 1 };
  const seen = [];
  processRTMClientEventMap({ linkState: (link) => seen.push(link) }, "linkState", { event: { ...event, reason_str: "" } });
  processRTMClientEventMap({ tokenPrivilegeWillExpire: (channel) => seen.push(channel) }, "tokenPrivilegeWillExpire", { channelName: "room" });
  assert.deepEqual(seen, [event, "room"]);
});
