// A site with the pages of the folder `page`, each bundled with its imports, as an app's bundler does. It also
// answers the requests of AgoraRTC that the simulated edge (page/agora.js) redirects to it.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const library = `${here}/../../web/client`;

/** Lets a page import a code example from the library's README by its heading: "readme:agora-rtc-react". */
const readme = {
  name: "readme",
  setup: (/** @type {import("esbuild").PluginBuild} */ { onResolve, onLoad }) => {
    onResolve({ filter: /^readme:/ }, ({ path }) => ({ path: path.slice("readme:".length), namespace: "readme" }));
    onLoad({ filter: /./, namespace: "readme" }, async ({ path }) => {
      const text = await readFile(`${library}/README.md`, "utf8");
      const [, loader, contents] = /```(\w+)\n(.*?)^```/ms.exec(text.slice(text.indexOf(`\n### ${path}\n`))) ?? [];
      return { contents, loader: /** @type {any} */ (loader), resolveDir: here };
    });
  },
};

/**
 * Serves the script page/NAME.js and its page at /NAME, for each entry.
 * @param {Record<string, Record<string, string>>} entries for each entry, packages that replace others
 */
export async function servePages(entries) {
  /** @type {Map<string, Uint8Array>} */
  const scripts = new Map();
  await Promise.all(Object.entries(entries).map(async ([name, alias]) => {
    const { outputFiles } = await build({
      entryPoints: [`${here}/page/${name.split("+")[0]}`], bundle: true, write: false, format: "iife", target: "es2022", jsx: "automatic", logLevel: "error", minify: true,
      define: { "process.env.NODE_ENV": `"production"`, global: "globalThis" },
      loader: { ".css": "empty" },
      plugins: [readme],
      alias: { "node:assert/strict": `${here}/page/assert.js`, "@refresher/client/rtc": `${library}/bindings/rtc.js`, "@refresher/client": `${library}/index.js`, ...alias },
    });
    scripts.set(`/${name}.js`, outputFiles[0].contents);
  }));
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "", "http://x");
    const script = scripts.get(pathname);
    if (script) return response.setHeader("content-type", "text/javascript").end(script);
    if (pathname.startsWith("/agora/")) return answer(pathname, request, response);
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>An app</title><link rel=icon href=data:,><div id=app></div><script src="${pathname}.js"></script>`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { origin: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/**
 * Answers the requests that AgoraRTC sends before a call. The answers name the simulated edge.
 * @param {string} pathname
 * @param {import("node:http").IncomingMessage} request
 * @param {import("node:http").ServerResponse} response
 */
async function answer(pathname, request, response) {
  let body = "";
  for await (const chunk of request) body += chunk;
  response.setHeader("content-type", "application/json");
  if (!pathname.endsWith("/transpond/webrtc")) return response.end("{}");
  const { opid, request_bodies: [{ buffer: { cname } }] } = JSON.parse(/\{.*\}/s.exec(body)?.[0] ?? "");
  const gateway = { code: 0, uid: 1001, cid: 7, cname, cert: "ticket", detail: { 8: "1" } };
  const now = Date.now();
  response.end(JSON.stringify({
    opid, enter_ts: now, leave_ts: now, detail: { 502: "127.0.0.1" },
    response_body: [
      { buffer: { ...gateway, flag: 4096, edges_services: [{ ip: "127.0.0.1", port: 4433 }] } }, // a server
      { buffer: { ...gateway, flag: 4194310, edges_services: [] } }, // the list of fallback proxies is empty
    ],
  }));
}
