// Programs that the tests start, and ports for them.

import { existsSync } from "node:fs";
import { createServer } from "node:net";

/**
 * The first of the paths at which there is a program.
 * @param {string[]} paths
 * @param {string} debianPackage the package with the program, for the error
 */
export function program(paths, debianPackage) {
  const path = paths.find((path) => existsSync(path));
  if (!path) throw new Error(`there is no ${paths.join(" and no ")}: install the Debian package ${debianPackage}, or run scripts/install-packages.sh`);
  return path;
}

/** A port that no program listens on now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
