// Finds the programs that tests start, and free ports for them.

import { existsSync } from "node:fs";
import { createServer } from "node:net";

/**
 * Returns the first of the paths at which a program exists.
 * @param {string[]} paths
 * @param {string} debianPackage the package to install, named in the error if no path exists
 */
export function program(paths, debianPackage) {
  const path = paths.find((path) => existsSync(path));
  if (!path) throw new Error(`there is no ${paths.join(" and no ")}: install the Debian package ${debianPackage}, or run scripts/install-packages.sh`);
  return path;
}

/** Returns a port on which no program listens now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
