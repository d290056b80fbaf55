// The package as npm would publish it: what is in it, how large it is, and that
// the examples of the README are right by the SDKs' own types.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { compileScript, compileTemplate, parse } from "vue/compiler-sfc";

const run = promisify(execFile);
const here = new URL("..", import.meta.url).pathname;
const installed = join(here, "node_modules");

let app = ""; // a folder of an app that has the package and the SDKs
let own = ""; // the package in there

before(async () => {
  app = await mkdtemp(join(tmpdir(), "refresher-app-"));
  await run("npm", ["pack", "--pack-destination", app], { cwd: here });
  const [tarball = ""] = (await readdir(app)).filter((name) => name.endsWith(".tgz"));
  own = join(app, "node_modules", "refresher-client");
  await mkdir(own, { recursive: true });
  await run("tar", ["xzf", join(app, tarball), "--strip-components=1", "-C", own]);
  for (const name of await readdir(installed)) {
    if (!name.startsWith(".")) await symlink(join(installed, name), join(app, "node_modules", name));
  }
});
after(() => rm(app, { recursive: true }));

test("the package has its modules, their types and its README, and nothing else", async () => {
  const modules = (await readdir(here)).filter((name) => name.endsWith(".js")).sort();
  assert.ok(modules.includes("index.js"));
  assert.deepEqual((await readdir(own)).sort(), [...modules, "README.md", "package.json", "types"].sort());
  assert.deepEqual((await readdir(join(own, "types"))).sort(), modules.map((name) => name.replace(".js", ".d.ts")));
});

test("the examples of the README and the types hold, by tsc --strict and the SDKs' own types", async () => {
  const readme = await readFile(join(here, "README.md"), "utf8");
  const fences = [...readme.matchAll(/^```(js|tsx|vue)\n(.*?)^```$/gms)].map(([, language, code]) => ({ language, code }))
    .filter(({ code }) => !code.includes("react-native-agora")); // which test/native compiles
  assert.deepEqual(fences.map(({ language }) => language), ["js", "tsx", "vue", "js", "js", "js", "js", "js"]);
  const [first, ...rest] = fences;
  // The five lines at the top, in the surroundings that they take for granted.
  await writeFile(join(app, "five.ts"), `
    import AgoraRTC from "agora-rtc-sdk-ng";
    declare const APP_ID: string;
    declare const fetchCredential: () => Promise<string>;
    const client = AgoraRTC.createClient({ mode: "rtc", codec: "vp8" });
    ${first.code.replace("(token)", "(token: string)")}`);
  for (const [n, { language, code }] of rest.entries()) {
    if (language !== "vue") {
      await writeFile(join(app, `example${n}.${language}`), code);
      continue;
    }
    const { descriptor, errors } = parse(code);
    assert.deepEqual(errors, []);
    const script = compileScript(descriptor, { id: "example", inlineTemplate: true });
    await writeFile(join(app, `example${n}.ts`), script.content);
    const template = compileTemplate({ source: descriptor.template?.content ?? "", filename: "example.vue", id: "example" });
    assert.deepEqual(template.errors, []);
  }
  await cp(join(here, "test/types"), app, { recursive: true, filter: (name) => !name.endsWith("no-dom.test-d.ts") });
  await writeFile(join(app, "package.json"), `{"type": "module"}`);
  await writeFile(join(app, "tsconfig.json"), JSON.stringify({
    compilerOptions: {
      strict: true, noEmit: true, allowJs: true, checkJs: true, jsx: "react-jsx", target: "es2022", module: "esnext",
      moduleResolution: "bundler", lib: ["es2023", "dom"], types: [], skipLibCheck: true, preserveSymlinks: true, allowSyntheticDefaultImports: true,
    },
    include: ["*.ts", "*.tsx", "*.js"],
  }));
  const { stdout } = await run(join(installed, ".bin/tsc"), ["-p", app], { cwd: app }).catch((error) => error);
  assert.equal(stdout, "");
});

test("the types hold without those of a DOM, and with those of libraries checked", async () => {
  const bare = join(app, "bare");
  await mkdir(join(bare, "node_modules"), { recursive: true });
  await symlink(own, join(bare, "node_modules", "refresher-client"));
  await cp(join(here, "test/types/no-dom.test-d.ts"), join(bare, "app.ts"));
  await writeFile(join(bare, "package.json"), `{"type": "module"}`);
  await writeFile(join(bare, "tsconfig.json"), JSON.stringify({
    compilerOptions: { strict: true, noEmit: true, target: "es2022", module: "nodenext", lib: ["es2023"], types: [], skipLibCheck: false },
    include: ["app.ts"],
  }));
  const { stdout } = await run(join(installed, ".bin/tsc"), ["-p", bare], { cwd: bare }).catch((error) => error);
  assert.equal(stdout, "");
});
