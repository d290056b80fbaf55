// The package that `make client` packs: its files, and whether the examples of the README compile
// with its types and the SDKs' own.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { compileScript, compileTemplate, parse } from "vue/compiler-sfc";

const run = promisify(execFile);
const here = new URL("..", import.meta.url).pathname;
const installed = join(here, "node_modules");

let app = ""; // the folder of an app that has installed the package and the SDKs
let own = ""; // the package's folder in that app

before(async () => {
  app = await mkdtemp(join(tmpdir(), "refresher-app-"));
  await run("make", ["client", `BIN=${app}`], { cwd: join(here, "../..") });
  own = join(app, "node_modules", "@refresher/client");
  await mkdir(own, { recursive: true });
  await run("tar", ["xzf", join(app, "refresher-client.tgz"), "--strip-components=1", "-C", own]);
  for (const name of await readdir(installed)) {
    if (!name.startsWith(".")) await symlink(join(installed, name), join(app, "node_modules", name));
  }
});
after(() => rm(app, { recursive: true }));

test("the package has its modules, their types, its README and the licence, and nothing else", async () => {
  const inside = async (folder) => (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name))).sort();
  const modules = [
    ...await readdir(here),
    ...(await readdir(join(here, "bindings"))).map((name) => `bindings/${name}`),
  ].filter((name) => name.endsWith(".js"));
  assert.ok(modules.includes("index.js") && modules.includes("bindings/rtc.js"));
  const types = modules.map((name) => `types/${name.replace(".js", ".d.ts")}`);
  assert.deepEqual(await inside(own), [...modules, ...types, "LICENSE", "README.md", "package.json"].sort());
  assert.equal(await readFile(join(own, "LICENSE"), "utf8"), await readFile(join(here, "../../LICENSE"), "utf8"));
});

test("each binding is a subpath of the package, with its types, and apart from the core", async () => {
  const { exports } = JSON.parse(await readFile(join(own, "package.json"), "utf8"));
  for (const file of await readdir(join(here, "bindings"))) {
    const name = file.replace(".js", "");
    assert.deepEqual(exports[`./${name}`], { types: `./types/bindings/${name}.d.ts`, default: `./bindings/${name}.js` });
    assert.doesNotMatch(await readFile(join(own, "bindings", file), "utf8"), /^import /m);
  }
});

test("the examples of the README and the types hold, by tsc --strict and the SDKs' own types", async () => {
  const readme = await readFile(join(here, "README.md"), "utf8");
  const fences = [...readme.matchAll(/^```(js|tsx|vue)\n(.*?)^```$/gms)].map(([, language, code]) => ({ language, code }));
  assert.deepEqual(fences.map(({ language }) => language), ["js", "js", "tsx", "js", "js", "js", "tsx", "js", "vue", "js", "js", "js", "js"]);
  const [first, ...rest] = fences;
  // The README's first six lines of code, and the declarations that they need.
  await writeFile(join(app, "six.ts"), `
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

// npm installs the package from the repository's folder (`folder`) as a symbolic link.
for (const [from, folder] of [["tarball", () => own], ["folder", () => here]]) test(`the types of the ${from} hold without those of a DOM, and with those of libraries checked`, async () => {
  const bare = join(app, from);
  await mkdir(join(bare, "node_modules/@refresher"), { recursive: true });
  await symlink(folder(), join(bare, "node_modules/@refresher/client"));
  await cp(join(here, "test/types/no-dom.test-d.ts"), join(bare, "app.ts"));
  await writeFile(join(bare, "package.json"), `{"type": "module"}`);
  await writeFile(join(bare, "tsconfig.json"), JSON.stringify({
    compilerOptions: { strict: true, noEmit: true, target: "es2022", module: "nodenext", lib: ["es2023"], types: [], skipLibCheck: false },
    include: ["app.ts"],
  }));
  const { stdout } = await run(join(installed, ".bin/tsc"), ["-p", bare], { cwd: bare }).catch((error) => error);
  assert.equal(stdout, "");
});
