// The site of an app that uses the library: a page, the library and Agora's SDKs.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const files = {
  "/agora-rtc.js": new URL("node_modules/agora-rtc-sdk-ng/AgoraRTC_N-production.js", import.meta.url),
  "/agora-rtm.js": new URL("node_modules/agora-rtm/agora-rtm.js", import.meta.url),
};

export class Site {
  /**
   * The credentials by name, which /credentials/NAME returns as an app's back end would.
   * @type {Map<string, string>}
   */
  credentials = new Map();
  #server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "", "http://x");
    if (pathname.startsWith("/credentials/")) return response.end(this.credentials.get(pathname.split("/")[2]));
    if (!pathname.includes(".")) {
      response.setHeader("content-type", "text/html");
      return response.end(`<!doctype html><title>${pathname}</title><link rel=icon href=data:,>`);
    }
    response.setHeader("content-type", "text/javascript");
    response.end(await readFile(files[pathname] ?? new URL(`../../web${pathname}`, import.meta.url)));
  });

  async open() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }
}
