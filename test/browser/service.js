// The real service in a process of its own, which a test starts, kills and restarts.

import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const root = new URL("../..", import.meta.url).pathname;
const run = promisify(execFile);

/** @type {Promise<string> | undefined} */
let built;

/** Resolves with the path of the command, which make test or the first call of this function builds. */
function binary() {
  built ??= (async () => {
    if (process.env.BUILT_REFRESHER) return process.env.BUILT_REFRESHER;
    const folder = mkdtempSync(join(tmpdir(), "refresher-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "refresher");
    await run("go", ["build", "-o", path, "./cmd/refresher"], { cwd: root });
    return path;
  })();
  return built;
}

/** A node of the service. It keeps its ports when it is restarted. */
export class Service {
  /** The address on which the service listens, after start: 127.0.0.1:PORT. */
  address = "127.0.0.1:0";
  ops = "127.0.0.1:0";
  #args;
  #command;
  #environment;
  #child;
  #log = [];
  /** For each waiting call of logged(), a function that searches the log again. @type {Set<() => void>} */
  #reading = new Set();

  /**
   * @param {"serve" | "demo"} command
   * @param {string[]} [args]
   */
  constructor(command, args = []) {
    this.#command = command;
    this.#args = args;
    // The environment has none of this machine's settings. Its secrets stay the same after a restart.
    this.#environment = {
      PATH: process.env.PATH, HOME: process.env.HOME, TMPDIR: tmpdir(),
      REFRESHER_LOG_FORMAT: "json",
      REFRESHER_JWT_SECRET: randomBytes(32).toString("hex"),
      ...(command === "serve" && {
        AGORA_APP_ID: randomBytes(16).toString("hex"),
        AGORA_APP_CERTIFICATE: randomBytes(16).toString("hex"),
      }),
    };
  }

  get url() {
    return `http://${this.address}`;
  }

  /** Adds environment variables, such as a certificate that the demo keeps after a restart. */
  set(environment) {
    Object.assign(this.#environment, environment);
    return this;
  }

  /** Starts the service. Resolves when the service accepts connections. */
  async start() {
    const path = await binary();
    const child = spawn(path, [this.#command, "--listen", this.address, "--ops-listen", this.ops, ...this.#args], {
      cwd: tmpdir(), env: this.#environment, stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.stdout.resume();
    const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(`exit ${code ?? signal}`)));
    child.ended = ended;
    const serving = new Promise((resolve) => {
      createInterface({ input: child.stderr }).on("line", (line) => {
        this.#log.push(line);
        for (const look of [...this.#reading]) look();
        if (line.includes('"msg":"serving"')) resolve(JSON.parse(line));
      });
    });
    const first = await Promise.race([serving, ended]);
    if (typeof first === "string") throw new Error(`the service did not start: ${first}\n${this.#log.join("\n")}`);
    this.address = first.address;
    this.ops = first.ops_address;
    return this;
  }

  /** Kills the process (SIGKILL), as a crash would. */
  kill() {
    this.#child.kill("SIGKILL");
    return this.#child.ended;
  }

  /** Stops the process (SIGTERM), as a deployment would. */
  stop() {
    this.#child.kill("SIGTERM");
    return this.#child.ended;
  }

  /**
   * Resolves with the log's first matching line, as an object. Waits for that line, since the service may log
   * an event after the test has seen the event.
   * @param {(line: any) => unknown} fits
   */
  logged(fits) {
    return new Promise((resolve) => {
      const look = () => {
        const line = this.log.find(fits);
        if (!line) return;
        this.#reading.delete(look);
        resolve(line);
      };
      this.#reading.add(look);
      look();
    });
  }

  get log() {
    return this.#log.flatMap((line) => {
      try {
        return [JSON.parse(line)];
      } catch {
        return [];
      }
    });
  }

  /** Returns a credential for this service, made with the flags of `refresher token grant`. */
  async grant(...flags) {
    const { stdout } = await run(await binary(), ["token", "grant", ...flags], { cwd: tmpdir(), env: this.#environment });
    return stdout.trim();
  }

  /** Sends a request with an operator's credential to the public port. Resolves with the answer's body. */
  async ask(method, path, body) {
    this.operator ??= await this.grant("--subject", "ops", "--admin", "--channels", "*", "--uids", "*");
    const response = await fetch(this.url + path, {
      method, body: body && JSON.stringify(body), headers: { authorization: `Bearer ${this.operator}` },
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer.error}`);
    return answer;
  }

  /** Returns the value of a metric, by its name and labels as in /metrics; 0 if there is no such line. */
  async metric(name) {
    const text = await (await fetch(`http://${this.ops}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`${name} `));
    return line ? Number(line.slice(name.length + 1)) : 0;
  }
}
