// What the library adds to an app: minified and gzipped, as a bundler and a web
// server would have it. Fails when that is too much.

import { build } from "esbuild";
import { gzipSync } from "node:zlib";

const limit = 7 * 1024;
const { outputFiles } = await build({
  entryPoints: [new URL("../index.js", import.meta.url).pathname],
  bundle: true, minify: true, format: "esm", target: "es2022", write: false,
});
const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
console.log(`refresher-client: ${bytes} bytes minified and gzipped, of ${limit}`);
if (bytes > limit) process.exitCode = 1;
