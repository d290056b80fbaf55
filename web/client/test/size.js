// Measures what the library and each of its bindings add to an app's size: minified and gzipped, as
// a bundler and a web server deliver them. Fails if one exceeds its limit.

import { build } from "esbuild";
import { gzipSync } from "node:zlib";

/**
 * Limits in bytes, by module. An app loads index.js and the bindings of its SDKs. The messages for developers
 * (diagnose.js) take 1.25 KiB of index.js.
 */
const limits = {
  "index.js": 8.25 * 1024,
  "also.js": 320,
  "testing.js": 2048, // for development only
  "bindings/rtc.js": 512,
  "bindings/rtm.js": 768,
  "bindings/chat.js": 512,
  "bindings/native.js": 768,
};
for (const [name, limit] of Object.entries(limits)) {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../${name}`, import.meta.url).pathname],
    external: name === "also.js" ? ["./refresher.js"] : [], // an app that loads also.js has refresher.js already, from index.js
    bundle: true, minify: true, format: "esm", target: "es2022", write: false,
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`@refresher/client: ${name}: ${bytes} bytes minified and gzipped, of ${limit}`);
  if (bytes > limit) process.exitCode = 1;
}
