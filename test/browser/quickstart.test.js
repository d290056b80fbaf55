// Follows docs/start/quick-start.md as a reader does: runs each command and saves each file in the order of the
// page, in a folder next to a copy of the repository. The test replaces only the ports, and the placeholders
// for the Agora project.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { open } from "./engines.js";
import { freePort } from "./program.js";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
const npm = { prefer_offline: "true", audit: "false", fund: "false", update_notifier: "false", ignore_scripts: "true" };
const env = {
  // With this PATH, Debian's Python is used, which has Flask.
  ...process.env, PATH: `/usr/bin:${process.env.PATH}`, PYTHONUNBUFFERED: "1", REFRESHER_OPS_LISTEN: "127.0.0.1:0",
  ...Object.fromEntries(Object.entries(npm).map(([name, value]) => [`npm_config_${name}`, value])),
};

let folder = ""; // the reader's folder, with the folders refresher and my-app
let back = "";
/** The code blocks of the page, each with the heading above it and the paragraph before it. @type {{heading: string, before: string, language: string, code: string}[]} */
let blocks = [];
/**
 * The running programs: the service and the back end.
 * @type {Map<string, import("node:child_process").ChildProcess>}
 */
const running = new Map();

before(async () => {
  const [service, app] = [`127.0.0.1:${await freePort()}`, await freePort()];
  back = `http://127.0.0.1:${app}`;
  env.REFRESHER_LISTEN = service; // the address on which the service listens, in place of the default 127.0.0.1:8080
  const page = (await readFile(join(root, "docs/start/quick-start.md"), "utf8"))
    .replaceAll("127.0.0.1:8080", service).replaceAll("localhost:3000", `127.0.0.1:${app}`).replaceAll(/(listen\(|port=)3000/g, `$1${app}`)
    .replaceAll(/your-app-(id|certificate)/g, () => randomBytes(16).toString("hex"));
  blocks = page.split(/^#+ /m).flatMap((section) => [...section.matchAll(/([^\n]*)\n\n```(\w+)\n(.*?)^```$/gms)]
    .map(([, before, language, code]) => ({ heading: section.split("\n")[0], before, language, code })));
  folder = await mkdtemp(join(tmpdir(), "refresher-start-"));
  await mkdir(join(folder, "refresher"));
  await run("bash", ["-c", `git ls-files -z -co --exclude-standard | tar -c --null -T - --ignore-failed-read | tar -x -C "${folder}/refresher"`], { cwd: root });
});
after(async () => {
  for (const terminal of running.keys()) await stop(terminal);
  await rm(folder, { recursive: true });
});

/** The headings whose instructions the test has followed. */
const followed = new Set(["Check"]);

/** Follows the page's instructions under a heading. */
async function follow(heading) {
  followed.add(heading);
  const steps = blocks.filter((block) => block.heading === heading);
  assert.ok(steps.length > 0, `the page has no ${heading}`);
  for (const step of steps) {
    const file = /Save this as `(.*?)`/.exec(step.before)?.[1];
    if (file) await writeFile(join(folder, "my-app", file), step.code);
    else if (/[Ss]tart .* in (a|its) terminal/.test(step.before)) await start(step.code);
    else if (step.language === "sh") await shell(step.code);
  }
}

/**
 * Runs commands in the reader's terminal, whose folder is the clone until the app's folder exists. They run
 * with nice, so that builds do not slow down the browsers of other tests.
 */
async function shell(code) {
  const { stdout } = await run("nice", ["bash", "-euo", "pipefail", "-c", code], { cwd: join(folder, code.startsWith("make") ? "refresher" : "my-app"), env });
  return stdout;
}

/** Starts a program in the terminal of the service or of the back end: stops the program that runs there, and waits
 * until the new program prints its address. */
async function start(code) {
  const terminal = code.includes("/refresher ") ? "service" : "back end";
  await stop(terminal);
  const child = spawn("bash", ["-euo", "pipefail", "-c", code.replace(/^(?=\S+ [^\n]*\n$)/m, "exec ")], { cwd: join(folder, "my-app"), env });
  running.set(terminal, child);
  let said = "";
  await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => {
        said += text;
        if (/https?:\/\/|"serving"|msg=serving/.test(said)) resolve(undefined);
      });
    }
    child.once("exit", () => reject(new Error(`${code} ended: ${said}`)));
  });
}

async function stop(terminal) {
  const child = running.get(terminal);
  if (!child) return;
  running.delete(terminal);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  await ended;
}

/** Runs the page's check that the service accepts the back end's credential. */
async function check() {
  const [{ code }] = blocks.filter(({ heading }) => heading === "Check");
  assert.match(await shell(code), /^\{"rtcToken":"007/);
}

const shows = (page, text) => page.waitForFunction((text) => document.body.innerText.includes(text), text, { timeout: 20_000 });

test("the quick start runs as it stands", { timeout: 300_000 }, async (t) => {
  const { page, complaints } = await open(t);

  await t.test("the service is built, and starts", () => follow("The service"));
  await t.test("a back end in Flask signs credentials", async () => {
    await follow("Flask");
    await check();
  });
  await t.test("so does one in Express", async () => {
    await follow("Express");
    await check();
  });
  let renewed = Promise.resolve();
  await t.test("the page in plain JavaScript joins", async () => {
    await follow("A page in plain JavaScript");
    await page.goto(`${back}/index.html`);
    await shows(page, "Connection to refresher: live. Call: CONNECTED.");
    renewed = shows(page, "Call: CONNECTED. Renewals: 3.");
  });
  await t.test("the page in React is bundled meanwhile", () => follow("A page in React"));
  await t.test("the call in plain JavaScript has its third renewal, and leaves", async () => {
    await renewed;
    await page.click("text=Leave");
    await shows(page, "Connection to refresher: ended. Call: DISCONNECTED.");
    assert.deepEqual(complaints, []);
  });
  await t.test("the page in React joins under StrictMode, renews, leaves and joins again", async () => {
    await page.addInitScript(() => {
      globalThis.shown = [];
      new MutationObserver(() => globalThis.shown.push(document.body?.innerText)).observe(document, { subtree: true, childList: true, characterData: true });
    });
    await page.goto(`${back}/react.html`);
    await shows(page, "Connection to refresher: live. Call: CONNECTED. Renewals: 1.");
    await page.click("text=Leave");
    await page.click("text=Join");
    await shows(page, "Connection to refresher: live. Call: CONNECTED.");
    const shown = await page.evaluate(() => globalThis.shown);
    assert.deepEqual(shown.filter((text) => /ended|away/.test(text)), []);
    assert.deepEqual(complaints, []);
  });
  await t.test("with an Agora project, the service takes the same credentials", async () => {
    await follow("With your Agora project");
    await check();
  });
  assert.deepEqual([...new Set(blocks.map(({ heading }) => heading))].sort(), [...followed].sort());
});
