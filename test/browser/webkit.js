// WebKitGTK, controlled by classic WebDriver over HTTP: Debian's WebKitWebDriver with MiniBrowser, on a virtual
// screen (Xvfb). Its pages have the methods of Playwright's Page that the tests use. The arguments and results
// of functions that run in a page are JSON.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { find } from "./find.js";
import { Locator } from "./locator.js";
import { freezePages } from "./processes.js";
import { freePort, program } from "./program.js";
import { Proxy } from "./proxy.js";

const longest = 600_000; // the driver's time limit for a function in a page, in milliseconds; the tests' own limits are shorter

// A signal alone would not run the exit handlers, which end the browsers and the X server; exit() runs them.
process.once("SIGTERM", () => process.exit(143));

/** Returns MiniBrowser's path. Its folder is named after the machine and the version of WebKit's interface. */
function miniBrowser() {
  const folders = readdirSync("/usr/lib").filter((name) => name.includes("-linux-"));
  return program(["4.1", "4.0"].flatMap((version) => folders.map((folder) => `/usr/lib/${folder}/webkit2gtk-${version}/MiniBrowser`)), "webkit2gtk-driver");
}

/** @type {Promise<string> | undefined} */
let display;

/** Starts an X server with a virtual screen, once. Resolves with the display's name. */
function xvfb() {
  display ??= new Promise((resolve, reject) => {
    const server = spawn(program(["/usr/bin/Xvfb"], "xvfb"), ["-displayfd", "3", "-screen", "0", "2000x1400x24", "-nolisten", "tcp"], {
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
    server.unref();
    process.on("exit", () => server.kill());
    server.on("exit", (code) => reject(new Error(`Xvfb ended: ${code}`)));
    server.stdio[3].once("data", (number) => resolve(`:${String(number).trim()}`));
    server.stdio[3].unref();
  });
  return display;
}

/**
 * Writes a configuration folder for GTK, from which WebKit gets prefers-reduced-motion. The style sheet shrinks
 * the window's controls, which would otherwise be wider than a phone.
 */
function settings(folder, { reducedMotion }) {
  mkdirSync(join(folder, "gtk-3.0"));
  writeFileSync(join(folder, "gtk-3.0/settings.ini"), `[Settings]\ngtk-enable-animations=${reducedMotion === "reduce" ? 0 : 1}\n`);
  const controls = ["headerbar", "toolbar", "entry", "button", "notebook header"].flatMap((name) => [name, `${name} *`]);
  writeFileSync(join(folder, "gtk-3.0/gtk.css"), `${controls} { min-width: 0; min-height: 0; padding: 0; margin: 0; border-width: 0; font-size: 1px; -gtk-icon-transform: scale(0); }\n`);
}

/**
 * @param {import("node:test").TestContext} t
 * @param {{colorScheme?: "light" | "dark", reducedMotion?: "reduce" | "no-preference", viewport?: {width: number, height: number}}} options
 */
export async function openWebKit(t, { viewport = { width: 1280, height: 720 }, ...options }) {
  const browser = new WebKit();
  t.after(() => browser.close());
  const page = await browser.start(options);
  await page.setViewportSize(viewport);
  const { proxy } = browser;
  return {
    engine: "webkit", page, complaints: proxy.complaints, hosts: proxy.hosts,
    route: async (pattern, answer) => proxy.route(pattern, answer),
    // The proxy cuts the connections. This code sets navigator.onLine and sends the event in the page.
    setOffline: async (offline) => {
      proxy.setOffline(offline);
      await page.evaluate((offline) => {
        Object.defineProperty(navigator, "onLine", { value: !offline, configurable: true });
        dispatchEvent(new Event(offline ? "offline" : "online"));
      }, offline);
    },
    back: () => page.goBack(),
    newPage: () => browser.newPage(),
    popup: (open) => browser.popup(open),
    hide: () => browser.at(page.handle, "POST", "/window/minimize"),
    show: () => page.setViewportSize(viewport),
    freeze: () => freezePages(browser.pid),
  };
}

/** A browser with its own WebDriver process, since one process supports only one session. */
class WebKit {
  proxy = new Proxy();
  /** The pages, keyed by the name that the driver gives to their window. @type {Map<string, Page>} */
  pages = new Map();
  #base = "";
  #driver;
  #last = Promise.resolve();

  /** @param {{colorScheme?: "light" | "dark", reducedMotion?: "reduce" | "no-preference"}} options */
  async start(options) {
    await this.proxy.open();
    try {
      return await this.#launch(options);
    } catch (error) {
      if (error.name !== "TimeoutError") throw error;
      this.kill(); // on a busy machine, MiniBrowser sometimes does not connect to its driver, so it is launched again
      return this.#launch(options);
    }
  }

  async #launch(options) {
    const folder = mkdtempSync(join(tmpdir(), "webkit-"));
    settings(folder, options);
    const [port, screen] = await Promise.all([freePort(), xvfb()]);
    this.#driver = spawn(program(["/usr/bin/WebKitWebDriver"], "webkit2gtk-driver"), [`--port=${port}`], {
      env: { PATH: process.env.PATH, DISPLAY: screen, HOME: folder, XDG_CONFIG_HOME: folder, XDG_RUNTIME_DIR: folder },
      stdio: "ignore", detached: true, // the driver gets its own process group, so that all its processes can be ended together
    });
    const kill = () => {
      try {
        process.kill(-this.#driver.pid, "SIGKILL");
      } catch {} // kill fails if all processes of the browser have ended already
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    };
    process.on("exit", kill);
    this.#driver.once("exit", () => process.off("exit", kill));
    this.kill = kill;
    const address = `http://127.0.0.1:${port}`;
    await listening(address);
    const { sessionId } = await command("POST", `${address}/session`, {
      capabilities: {
        alwaysMatch: {
          "webkitgtk:browserOptions": {
            binary: miniBrowser(),
            args: ["--automation", `--proxy=${this.proxy.url}`, "--autoplay-policy=allow", "--javascript-can-open-windows-automatically=true", ...(options.colorScheme === "dark" ? ["--dark-mode"] : [])],
          },
          timeouts: { script: longest },
        },
      },
    }, AbortSignal.timeout(30_000));
    this.#base = `${address}/session/${sessionId}`;
    const page = new Page(this, await this.command("GET", "/window"));
    this.pages.set(page.handle, page);
    return page;
  }

  get pid() {
    return this.#driver.pid;
  }

  async close() {
    await this.command("DELETE", "").catch(() => {}); // an error does not matter, since the next line kills a browser that hangs
    this.kill();
    this.proxy.close();
  }

  command(method, path, body) {
    return command(method, this.#base + path, body);
  }

  /**
   * Sends a command to a window. The driver has one current window for all commands, so the code switches
   * windows only after the previous command has begun.
   */
  async at(handle, method, path, body) {
    if (this.pages.size === 1) return this.command(method, path, body);
    const begun = this.#last.catch(() => {}).then(async () => {
      await this.command("POST", "/window", { handle });
      const answer = this.command(method, path, body);
      answer.catch(() => {}); // only prevents an unhandled rejection: the caller handles it
      // The driver passes scripts to the browser in order: once this empty script has run, the previous script
      // has begun.
      if (path.startsWith("/execute")) await this.command("POST", "/execute/sync", { script: "", args: [] });
      else await answer.catch(() => {});
      return { answer };
    });
    this.#last = begun;
    return (await begun).answer;
  }

  async newPage() {
    const { handle } = await this.command("POST", "/window/new", { type: "window" });
    return this.#added(handle);
  }

  /**
   * Resolves with the window that a page opens while `open` runs, once that window has loaded. A script that
   * ran earlier would be lost with the window's blank first page.
   */
  async popup(open) {
    const loaded = this.proxy.load();
    await open();
    await loaded;
    const handles = await this.command("GET", "/window/handles");
    return this.#added(handles.find((handle) => !this.pages.has(handle)));
  }

  #added(handle) {
    const page = new Page(this, handle);
    this.pages.set(handle, page);
    return page;
  }
}

/** Resolves when the driver accepts commands. */
async function listening(address) {
  for (;;) {
    try {
      return await command("GET", `${address}/status`);
    } catch (error) {
      if (error.cause?.code !== "ECONNREFUSED") throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function command(method, url, body, signal) {
  const response = await fetch(url, { method, signal, body: method === "POST" ? JSON.stringify(body ?? {}) : undefined });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

const element = "element-6066-11e4-a52e-4f735466cecf"; // the key of a reference to an element, as WebDriver defines it

/** A page, with the methods of Playwright's Page that the tests use. */
class Page {
  #browser;
  #frame = 0; // height of the window's controls, in pixels

  constructor(browser, handle) {
    this.#browser = browser;
    this.handle = handle;
  }

  #command(method, path, body) {
    return this.#browser.at(this.handle, method, path, body);
  }

  async goto(url) {
    await this.#command("POST", "/url", { url });
  }

  async reload() {
    await this.#command("POST", "/refresh");
  }

  async goBack() {
    await this.#command("POST", "/back");
  }

  async bringToFront() {
    await this.#command("POST", "/window", { handle: this.handle });
  }

  async close() {
    await this.#command("DELETE", "/window");
    this.#browser.pages.delete(this.handle);
  }

  /** Runs a function in the page. Resolves with the function's result. */
  evaluate(run, arg) {
    return this.execute(`return (${run})(arguments[0])`, arg);
  }

  async execute(script, ...args) {
    return this.#command("POST", "/execute/sync", { script, args: args.map((arg) => arg ?? null) });
  }

  /** Calls the function in each frame of the screen, and resolves when its result is true. */
  waitForFunction(run, arg) {
    return this.execute(`return new Promise((resolve, reject) => {
      const look = () => Promise.resolve((${run})(arguments[0])).then((found) => found ? resolve(found) : requestAnimationFrame(look), reject);
      look();
    })`, arg);
  }

  addInitScript(run, arg) {
    this.#browser.proxy.addScript(`(${run})(${JSON.stringify(arg)})`);
  }

  async addScriptTag({ url }) {
    await this.evaluate((url) => new Promise((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), { src: url, onload: () => resolve(null), onerror: () => reject(new Error(`${url} is not loaded`)) });
      document.head.append(script);
    }), url);
  }

  async setViewportSize({ width, height }) {
    for (;;) {
      await this.#command("POST", "/window/rect", { width, height: height + this.#frame });
      const [left, above] = await this.evaluate(({ width, height }) => new Promise((resolve) => {
        const rest = () => [innerWidth - width, outerHeight - innerHeight];
        if (innerWidth === width && innerHeight === height) resolve(rest());
        else addEventListener("resize", () => resolve(rest()), { once: true });
        setTimeout(() => resolve(rest()), 500); // the wait has a limit, since no resize event comes if the window already has that size
      }), { width, height });
      if (left === 0 && above === this.#frame) return;
      this.#frame = above;
    }
  }

  /** @param {{path?: string}} [options] */
  async screenshot({ path } = {}) {
    const png = Buffer.from(await this.#command("GET", "/screenshot"), "base64");
    if (path) writeFileSync(path, png);
    return png;
  }

  async title() {
    return this.#command("GET", "/title");
  }

  locator(css) {
    return new Locator(this, []).locator(css);
  }

  getByRole(role, options) {
    return new Locator(this, []).getByRole(role, options);
  }

  getByText(text, options) {
    return new Locator(this, []).getByText(text, options);
  }

  getByLabel(text, options) {
    return new Locator(this, []).getByLabel(text, options);
  }

  async press(steps, state = "visible") {
    const { [element]: id } = await this.#found(steps, state);
    await this.#command("POST", `/element/${id}/click`);
  }

  /** Waits for the element of a locator, and runs a function on it. */
  async on(steps, run, arg, state = "attached") {
    const found = await this.#found(steps, state);
    return this.execute(`return (${run})(arguments[0], arguments[1])`, found, arg);
  }

  #found(steps, state) {
    return this.execute(`return (${find})(...arguments)`, steps, state);
  }
}
