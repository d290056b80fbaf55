// The types in types/ are generated from the JSDoc and committed, so that an app can import the library from
// its folder. This program fails if the types are stale; with --write it generates them.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const committed = join(root, "types");

function read(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith(".d.ts")).sort();
  return new Map(files.map((path) => [path, readFileSync(join(folder, path), "utf8")]));
}

const generated = mkdtempSync(join(tmpdir(), "refresher-types-"));
try {
  execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", join(root, "tsconfig.types.json"), "--outDir", generated], { stdio: "inherit" });
  if (process.argv.includes("--write")) {
    rmSync(committed, { recursive: true, force: true });
    cpSync(generated, committed, { recursive: true });
  }
  const [want, have] = [read(generated), read(committed)];
  const stale = [...new Set([...want.keys(), ...have.keys()])].filter((path) => want.get(path) !== have.get(path));
  if (stale.length > 0) {
    console.error(`@refresher/client: stale types, run "npm run types" and commit them: ${stale.join(", ")}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(generated, { recursive: true });
}
