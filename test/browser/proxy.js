// A proxy between a browser and this machine's servers. It provides what WebKit's driver lacks: scripts that
// run before the page's own scripts, the console's messages, a list of requested hosts, and an offline mode.

import { createServer, request as ask } from "node:http";
import { connect } from "node:net";

import { reset } from "./network.js";

const scriptPath = "/.init.js"; // the proxy serves its script on the page's origin, since the page's security policy forbids other origins
const consolePath = "/.console";
const loadedPath = "/.loaded";

/** Forwards HTTP and WebSockets to 127.0.0.1. Refuses every other host. */
export class Proxy {
  /** @type {string[]} */
  complaints = [];
  /** @type {Set<string>} */
  hosts = new Set();
  /** While true, the proxy resets every connection except those with the console's messages. */
  #offline = false;
  /** @type {string[]} */
  #scripts = [`(${collect})(${JSON.stringify(consolePath)}, ${JSON.stringify(loadedPath)})`];
  /** @type {{pattern: RegExp, answer: {status?: number, body?: string | Buffer, contentType?: string}}[]} */
  #routes = [];
  /** @type {Set<import("node:net").Socket>} */
  #sockets = new Set();
  #loaded = () => {};
  #server = createServer((request, response) => this.#http(request, response));

  constructor() {
    this.#server.on("connection", (socket) => this.#keep(socket));
    this.#server.on("upgrade", (request, socket) => this.#webSocket(request, socket));
    this.#server.on("connect", (request, socket) => { // CONNECT would be for HTTPS, which no server on this machine uses
      this.hosts.add(new URL(`https://${request.url}`).hostname);
      socket.destroy();
    });
  }

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  close() {
    this.#server.close();
    this.#cut();
  }

  /** Adds code that every page runs before its own. */
  addScript(code) {
    this.#scripts.push(code);
  }

  /** Answers requests to matching URLs in place of their server. */
  route(pattern, answer) {
    this.#routes.unshift({ pattern, answer });
  }

  /** Resolves when the next page has loaded. */
  load() {
    return new Promise((resolve) => (this.#loaded = resolve));
  }

  /** @param {boolean} offline resets every connection, and all that follow */
  setOffline(offline) {
    this.#offline = offline;
    if (offline) this.#cut();
  }

  #cut() {
    for (const socket of this.#sockets) reset(socket);
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {}); // resets are expected, so errors are ignored
    socket.on("close", () => this.#sockets.delete(socket));
  }

  #http(request, response) {
    const url = new URL(request.url);
    if (url.pathname === consolePath) return this.#complaint(request, response);
    if (url.pathname === loadedPath) {
      this.#loaded();
      return response.writeHead(204).end();
    }
    if (url.pathname === scriptPath) {
      return response.writeHead(200, { "content-type": "text/javascript", "cache-control": "no-store" }).end(this.#scripts.join(";\n"));
    }
    this.hosts.add(url.hostname);
    const route = this.#routes.find(({ pattern }) => pattern.test(url.href));
    if (route) {
      const { status = 200, body = "", contentType = "text/plain" } = route.answer;
      return response.writeHead(status, { "content-type": contentType }).end(body);
    }
    if (this.#offline || url.hostname !== "127.0.0.1") return reset(request.socket);
    const { "proxy-connection": _, "accept-encoding": __, ...headers } = request.headers;
    const forwarded = ask({ host: url.hostname, port: url.port, path: url.pathname + url.search, method: request.method, headers, agent: false });
    forwarded.on("error", () => reset(request.socket));
    forwarded.on("response", (answer) => void forward(answer, response));
    response.on("close", () => forwarded.destroy());
    request.pipe(forwarded);
  }

  async #complaint(request, response) {
    let text = "";
    for await (const part of request.setEncoding("utf8")) text += part;
    this.complaints.push(text);
    response.writeHead(204).end();
  }

  #webSocket(request, client) {
    const url = new URL(request.url);
    this.hosts.add(url.hostname);
    if (this.#offline || url.hostname !== "127.0.0.1") return reset(client);
    const service = connect(Number(url.port), url.hostname);
    this.#keep(service);
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) headers.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`);
    service.write(`${request.method} ${url.pathname}${url.search} HTTP/1.1\r\n${headers.join("")}\r\n`);
    service.pipe(client).pipe(service);
    service.on("error", () => reset(client));
    service.on("close", () => client.destroy());
    client.on("close", () => service.destroy());
  }
}

/** Forwards an answer. Inserts the scripts at the beginning of a document. */
async function forward(answer, response) {
  const { "transfer-encoding": _, ...headers } = answer.headers;
  if (!headers["content-type"]?.startsWith("text/html")) {
    response.writeHead(answer.statusCode, headers);
    answer.on("error", () => response.destroy());
    return answer.pipe(response);
  }
  const parts = [];
  for await (const part of answer) parts.push(part);
  const document = Buffer.concat(parts).toString().replace(/^(<!doctype html>)?/i, `$&<script src="${scriptPath}"></script>`);
  response.writeHead(answer.statusCode, { ...headers, "content-length": Buffer.byteLength(document) }).end(document);
}

/** Runs in the page: reports the page's load event, its console errors and warnings, and its uncaught exceptions. */
function collect(path, loadedPath) {
  addEventListener("load", () => navigator.sendBeacon(loadedPath));
  const tell = (/** @type {string} */ text) => navigator.sendBeacon(path, text);
  for (const [type, name] of /** @type {const} */ ([["error", "error"], ["warn", "warning"]])) {
    const own = console[type];
    console[type] = (...args) => {
      tell(`${name}: ${args.join(" ")}`);
      own.apply(console, args);
    };
  }
  addEventListener("error", ({ target, error, message }) => {
    if (target instanceof Element) tell(`error: ${target.outerHTML} is not loaded`);
    else tell(`uncaught: ${error ?? message}`);
  }, true);
  addEventListener("unhandledrejection", ({ reason }) => tell(`uncaught: ${reason}`));
  document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => tell(`error: ${violatedDirective} forbids ${blockedURI}`));
}
