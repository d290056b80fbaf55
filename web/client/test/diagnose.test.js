// Messages for mistakes in an app's options, its credential function and its deployment.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { Simulation, hour, settle } from "./fakes/index.js";

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl";

/** The messages of all tests so far, which the last test compares with the README. @type {string[]} */
const messages = ["@refresher/client: the SDK has left the call (UID_BANNED: banned"]; // from left.test.js

/** Makes a page, and adds its warnings to the messages. */
function simulate(t) {
  const sim = new Simulation(t);
  t.after(() => messages.push(...sim.warnings));
  return sim;
}

// The url.

for (const [url, address] of [
  ["ws://127.0.0.1:8080/v1/ws", "ws://127.0.0.1:8080/v1/ws"],
  ["wss://calls.example.com/v1/ws/", "wss://calls.example.com/v1/ws"],
  ["https://calls.example.com/agora/v1/ws", "wss://calls.example.com/agora/v1/ws"],
  ["https://calls.example.com/agora//", "wss://calls.example.com/agora/v1/ws"],
  [" https://calls.example.com\n", "wss://calls.example.com/v1/ws"],
  [new URL("https://calls.example.com"), "wss://calls.example.com/v1/ws"],
]) {
  test(`url ${JSON.stringify(url)} connects to ${address}`, async (t) => {
    const sim = simulate(t);
    sim.refresher({ url });
    await settle();
    assert.equal(sim.socket.url, address);
  });
}

const wanted = `url must be the service's address, such as "https://calls.example.com"; it is`;
for (const [url, message] of [
  ["calls.example.com", `url has no scheme: write "https://calls.example.com"`],
  ["calls.example.com/agora", `url has no scheme: write "https://calls.example.com"`],
  ["localhost:8080", `url has no scheme: write "http://localhost:8080"`],
  ["127.0.0.1:8080/", `url has no scheme: write "http://127.0.0.1:8080"`],
  [undefined, `${wanted} undefined`],
  [null, `${wanted} null`],
  ["", `${wanted} empty`],
  [8080, `${wanted} 8080`],
  ["undefined", `${wanted} another text`],
  ["/agora", `${wanted} another text`],
  ["https://", `${wanted} another text`],
  ["ftp://calls.example.com", `${wanted} another text`],
  [`https://calls.example.com?auth=${jwt}`, `${wanted} another text`],
  ["https://ana:secret@calls.example.com", `${wanted} another text`],
  ["ana:secret@calls.example.com", `${wanted} another text`],
]) {
  test(`url ${JSON.stringify(url)}: ${message}`, (t) => {
    const sim = simulate(t);
    assert.throws(() => sim.refresher({ url }), new TypeError(message));
    messages.push(`TypeError: ${message}`);
    sim.assertEmpty();
  });
}

// The credential.

/**
 * Values that are no credential: the test's name, the value, and its description in the message.
 * @type {[string, unknown, string][]}
 */
const mistakes = [
  ["undefined", undefined, "nothing"],
  ["null", null, "nothing"],
  ["an empty text", " \n", "nothing"],
  ["a number", 7, "a number"],
  ["a Response", new Response(jwt), "a Response: read its text with await response.text()"],
  ["an object with a credential", { user: "ana", token: jwt }, "an object: take its field token"],
  ["another object", { password: "secret" }, "an object"],
  ["a list", [jwt], "an object: take its field 0"],
  ["a page", "<!doctype html>\n<title>Log in</title>", "HTML: is the address right, and the user logged in?"],
  ["JSON", JSON.stringify({ token: jwt }), "JSON: parse it, and take the credential out of it"],
  ["quoted JSON", JSON.stringify(jwt), "JSON: parse it, and take the credential out of it"],
  ["a header's value", `Bearer ${jwt}`, "text with spaces in it"],
  ["an error's text", "Internal Server Error", "text with spaces in it"],
];

for (const [name, value, description] of mistakes) {
  test(`a credential function that returns ${name}: ${description}`, async (t) => {
    const sim = simulate(t);
    let calls = 0;
    sim.refresher({ credential: async () => (++calls, value) });
    await sim.pass(hour);
    assert.ok(calls > 100, "it is called again");
    const message = `the credential function returned ${description}`;
    assert.deepEqual(sim.warnings, [`@refresher/client: no credential was fetched: ${message}`]);
    assert.equal(sim.saw("error")[0].message, message);
    assert.equal(sim.saw("lost")[0].reason, "no credential was fetched");
    assert.equal(sim.sockets.length, 0);
  });
}

for (const [name, value, description] of [...mistakes.slice(2), ["a promise", Promise.resolve(jwt), "a promise: pass the function that returns it"]]) {
  test(`the option credential as ${name}: ${description}`, (t) => {
    const sim = simulate(t);
    const message = `credential must be text, or a function that returns it; it is ${description}`;
    assert.throws(() => sim.refresher({ credential: value }), new TypeError(message));
    messages.push(`TypeError: ${message}`);
    sim.assertEmpty();
  });
}

test("spaces around a credential are removed", async (t) => {
  for (const credential of [` ${jwt}\n`, () => `${jwt}\n`]) {
    const sim = simulate(t);
    sim.refresher({ credential });
    await settle();
    await sim.socket.opens();
    assert.equal(sim.socket.sent[0].auth, jwt);
  }
});

test("a credential function that rejects: one warning, without secrets", async (t) => {
  const sim = simulate(t);
  let calls = 0;
  sim.refresher({ credential: async () => { throw new TypeError(`Failed to fetch ${++calls} with ${jwt}`); } });
  await sim.pass(hour);
  assert.deepEqual(sim.warnings, ["@refresher/client: no credential was fetched: Failed to fetch 1 with (token)"]);
  assert.match(sim.saw("error")[0].message, /Failed to fetch 1/);
});

test("a credential function that parses a credential as JSON: the warning does not quote it", async (t) => {
  const sim = simulate(t);
  sim.refresher({ credential: () => new Response(jwt).json() });
  await sim.pass(hour);
  assert.deepEqual(sim.warnings, ["@refresher/client: no credential was fetched: the answer is not JSON: read a credential with await response.text()"]);
});

test("a credential function that does not answer", async (t) => {
  const sim = simulate(t);
  sim.refresher({ credential: () => new Promise(() => {}) });
  await sim.pass(hour);
  assert.deepEqual(sim.warnings, ["@refresher/client: no credential was fetched: no answer within 30 s: the credential function"]);
});

// The connection.

function onPage(t, href) {
  globalThis.location = new URL(href);
  t.after(() => delete globalThis.location);
}

test("no connection: one warning with what to check", async (t) => {
  onPage(t, "http://localhost:5173/room");
  const sim = simulate(t);
  sim.blocked = true;
  sim.refresher({ url: "https://calls.example.com/agora" });
  await sim.pass(hour);
  assert.deepEqual(sim.warnings, [`@refresher/client: no connection to wss://calls.example.com/agora/v1/ws (closed with 1006). Check that
- the service runs: https://calls.example.com/agora/ping answers in a browser
- the service has --base-path=/agora: without it, the url has no path
- http://localhost:5173 is in the service's --allowed-origins: add it, or open the page at an origin that is (the log names refused ones)
- the content security policy, if any, allows https: and wss: of that host
- proxies pass WebSockets on`]);
});

test("no connection: the warning names what can apply to this page", async (t) => {
  const warning = async (href, url) => {
    if (href) onPage(t, href);
    const sim = simulate(t);
    sim.blocked = true;
    sim.refresher({ url });
    await sim.pass(hour);
    delete globalThis.location;
    return sim.warnings.join("");
  };
  assert.doesNotMatch(await warning("https://calls.example.com/", "https://calls.example.com"), /allowed-origins|as this page|base-path/);
  assert.match(await warning("https://app.example.com/", "http://calls.example.com"), /- the url begins with https:, as this page does/);
  assert.doesNotMatch(await warning(undefined, "http://calls.example.com"), /allowed-origins|security policy|as this page/);
  assert.doesNotMatch(await warning(undefined, `https://calls.example.com/with/${jwt}`), /eyJ/);
});

test("a connection that opens and gets no answer, or none that the browser allows", async (t) => {
  const silent = simulate(t);
  silent.refresher();
  await settle();
  await silent.socket.opens();
  await silent.pass(hour);
  assert.match(silent.warnings.join(""), /^@refresher\/client: no connection to wss:\/\/calls\.example\.com\/v1\/ws \(no answer\)/);

  const blocked = simulate(t);
  blocked.refresher({ url: "http://calls.example.com", platform: { ...blocked.platform, WebSocket: class { constructor() { throw new Error("SecurityError"); } } } });
  await blocked.pass(hour);
  assert.match(blocked.warnings.join(""), /\(not connected\)/);
});

test("a service that is overloaded, or restarts, is no mistake", async (t) => {
  const sim = simulate(t);
  sim.refresher();
  await settle();
  for (const code of [1012, 1013]) {
    await sim.socket.opens();
    await sim.socket.says({ type: "reconnect", afterMs: 10, reason: "overload" });
    await sim.socket.closes(code);
    await sim.nextSocket();
  }
  assert.deepEqual(sim.warnings, []);
});

test("a refusal by the service is a warning", async (t) => {
  for (const [credential, code, error, message, warning] of [
    [jwt, 4403, "forbidden", "access was revoked", "the service refused to join: forbidden: access was revoked"],
    [jwt, 4403, "forbidden", "rtc.channel: the credential does not grant this", `the service refused to join: forbidden: rtc.channel: the credential does not grant this. The page asks for {"rtc":{"channel":"daily","uid":1001,"role":"publisher"}}: compare grants of the credential`],
    [jwt, 4400, "bad_request", "rtc.uid: no", "the service refused to join: bad_request: rtc.uid: no"],
    [jwt, 4401, "unauthenticated", "not valid", "the service refused to join: unauthenticated: not valid. The service's log has the reason"],
    [undefined, 4401, "unauthenticated", "no auth", "the service refused to join: unauthenticated: no auth. The option credential is missing"],
  ]) {
    const sim = simulate(t);
    sim.refresher({ credential });
    await settle();
    await sim.socket.opens();
    await sim.socket.refuses(code, error, message);
    assert.deepEqual(sim.warnings, [`@refresher/client: ${warning}`]);
  }
});

test("a credential that is refused twice is one warning", async (t) => {
  const sim = simulate(t);
  sim.refresher({ credential: () => jwt });
  for (const message of ["it expired 1 s ago", "it expired 2 s ago"]) {
    await sim.pass(0);
    await sim.socket.opens();
    await sim.socket.refuses(4401, "unauthenticated", message);
  }
  assert.equal(sim.saw("ended").length, 1);
  assert.deepEqual(sim.warnings, ["@refresher/client: the service refused to join: unauthenticated: it expired 1 s ago. The service's log has the reason"]);
});

// Silence.

test("there are no warnings after the first joined", async (t) => {
  const sim = simulate(t);
  let credential = jwt;
  const { socket } = await sim.live({ credential: () => credential });
  await socket.closes(1006);
  await sim.nextSocket();
  await sim.socket.opens();
  credential = "<html>";
  await sim.socket.refuses(4404, "unknown_session");
  await sim.pass(hour);
  assert.ok(sim.saw("error").length > 10);
  assert.deepEqual(sim.warnings, []);
});

test("there are no warnings after leave or close, as on the first mount of React's StrictMode", async (t) => {
  for (const end of ["leave", "close"]) {
    const sim = simulate(t);
    let reject;
    const refresher = sim.refresher({ credential: () => new Promise((_, no) => (reject = no)) });
    await settle();
    refresher[end]();
    reject(new Error("aborted"));
    await sim.pass(hour);
    assert.deepEqual(sim.warnings, []);
  }
});

test("the end of an old session is no mistake of the page that resumes it", async (t) => {
  const sim = simulate(t);
  const items = new Map();
  const storage = { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => void items.set(key, value), removeItem: (key) => void items.delete(key) };
  const { refresher } = await sim.live({ storage });
  refresher.close();
  sim.refresher({ storage });
  await settle();
  await sim.socket.opens();
  assert.equal(sim.socket.sent[0].type, "resume");
  await sim.socket.refuses(4404, "unknown_session");
  await sim.pass(0);
  await sim.join();
  assert.deepEqual(sim.warnings, []);
});

test("warnings go to console.warn, unless the app replaces platform.warn", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  const sim = simulate(t);
  const { warn: _, ...platform } = sim.platform;
  sim.refresher({ platform, credential: () => "" });
  await settle();
  assert.deepEqual(warn.mock.calls.map(({ arguments: [text] }) => text), ["@refresher/client: no credential was fetched: the credential function returned nothing"]);
});

// The documentation.

test("the README's table of warnings has the library's words", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const [section] = /^## When no session opens\n.*?(?=^## )/ms.exec(readme) ?? [""];
  const rows = [...section.matchAll(/^\| (`.*?) \| /gm)].map(([, said]) => said);
  assert.equal(rows.length, 12);
  for (const [, quoted] of rows.join().matchAll(/`(.*?)`/g)) {
    const pattern = new RegExp(quoted.split("...").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join(".*"));
    assert.ok(messages.some((message) => pattern.test(message)), quoted);
  }
});
