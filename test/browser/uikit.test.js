// The published agora-react-uikit with the classic endpoints of the real service, which requires credentials.
// The UIKit sends no header, so the service has --credential-in-path (docs/build/classic.md). The
// UIKit's AgoraRTC joins calls at a simulated edge (page/agora.js).

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { open } from "./engines.js";
import { servePages } from "./pages.js";
import { Service } from "./service.js";

/** @type {Awaited<ReturnType<typeof servePages>>} */
let site;
/** @type {Service} */
let service;
before(async () => {
  site = await servePages({ uikit: {} });
  service = new Service("serve", ["--credential-in-path", `--allowed-origins=${site.origin}`]);
  await service.start();
});
after(async () => {
  await service.stop();
  site.close();
});

/** Opens a page with a credential for the user. Resolves with the page and the UIKit's properties. */
async function app(t, uid) {
  const { page, complaints } = await open(t);
  const credential = await service.grant("--subject", "ana", "--channels", "daily", "--uids", `${uid}`, "--roles", "publisher", "--rtm-users", "ana", "--ttl", "10m");
  await page.goto(`${site.origin}/uikit`);
  const rtcProps = { appId: "0123456789abcdef0123456789abcdef", channel: "daily", uid, tokenUrl: `${service.url}/with/${credential}`, role: "audience", disableRtm: true };
  return { page, complaints, credential, rtcProps };
}

const asked = (route) => service.metric(`refresher_http_requests_total{code="200",route="${route}"}`);

describe("agora-react-uikit", { timeout: 180_000 }, () => {
  for (const [uid, slash, where] of [[1001, "", ""], [1002, "/", ", also where its base URL ends in a slash"]]) {
    test(`joins with a token of the service, and renews it by another${where}`, async (t) => {
      const { page, complaints, rtcProps } = await app(t, uid);
      const before = await asked("GET /rtc/*/*/*/*");
      const tokens = await page.evaluate(async (rtcProps) => {
        show(rtcProps);
        await tokens(1);
        edge.warns();
        return tokens(2);
      }, { ...rtcProps, tokenUrl: rtcProps.tokenUrl + slash });
      assert.deepEqual(tokens.map(({ by }) => by), ["join", "renew"]);
      assert.notEqual(tokens[0].token, tokens[1].token);
      for (const { token } of tokens) {
        const { services, findings } = await service.ask("POST", "/v1/tokens/inspect", { token, service: "rtc", channel: "daily", uid });
        assert.deepEqual(services.map(({ type, channel, user }) => [type, channel, user]), [["rtc", "daily", `${uid}`]]);
        assert.deepEqual(findings.filter(({ severity }) => severity === "error"), []);
      }
      assert.equal(await asked("GET /rtc/*/*/*/*") - before, 2);
      assert.deepEqual(complaints, []);
    });
  }

  // The UIKit only calls renewToken and never joins the call again; see docs/build/classic.md.
  test("after its token expired it fetches another, which AgoraRTC refuses since it has left", async (t) => {
    const { page, rtcProps } = await app(t, 1003);
    const refused = await page.evaluate(async (rtcProps) => {
      const refused = new Promise((resolve) => addEventListener("unhandledrejection", ({ reason }) => /renewToken/.test(reason.message) && resolve(reason.code)));
      show(rtcProps);
      await tokens(1);
      edge.expires();
      return refused;
    }, rtcProps);
    assert.equal(refused, "INVALID_OPERATION");
    assert.deepEqual(await page.evaluate(() => edge.tokens.map(({ by }) => by)), ["join"]);
  });

  test("fetches a token for its RTM, too", async (t) => {
    const { page, rtcProps } = await app(t, 1004);
    const token = await page.evaluate(async (rtcProps) => {
      const answer = new Promise((resolve) => {
        const { json } = Response.prototype;
        Response.prototype.json = async function () {
          const body = await json.call(this);
          if (body.rtmToken) resolve(body.rtmToken);
          return body;
        };
      });
      show({ ...rtcProps, disableRtm: false }, { uid: "ana" });
      return answer;
    }, rtcProps);
    const { services } = await service.ask("POST", "/v1/tokens/inspect", { token, service: "rtm", account: "ana" });
    assert.deepEqual(services.map(({ type, user }) => [type, user]), [["rtm", "ana"]]);
  });

  test("a path that is wrong is an answer that the page can read, and not a fault of CORS", async (t) => {
    const { page, rtcProps } = await app(t, 1005);
    const answer = await page.evaluate(async ({ tokenUrl }) => {
      const response = await fetch(`${tokenUrl}/rtc//daily/publisher/uid/1005/`);
      return { status: response.status, ...await response.json() };
    }, rtcProps);
    assert.deepEqual(answer, { status: 404, code: "bad_request", error: "no endpoint that takes a credential in its path" });
  });
});
