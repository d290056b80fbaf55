// The README's table of SDKs. For each row, the scenarios of scenarios.js must run with the installed version
// of the SDK; each event column must be a scenario.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { sdks } from "./sdks.js";
import { scenarios } from "./scenarios.js";

const read = (path) => readFile(new URL(`../../../${path}`, import.meta.url), "utf8");

test("the README's table has each SDK, each event, its version and the file of its tests", async () => {
  const readme = await read("web/client/README.md");
  const table = /^\| SDK \| version \|.*\n(?:\|.*\n)+/m.exec(readme)?.[0] ?? "";
  const [head, , ...rows] = table.trim().split("\n").map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()));
  assert.deepEqual(head, ["SDK", "version", ...Object.keys(scenarios), "tests"]);
  const installed = async ({ name, tests }) => {
    const folder = tests.replace(/(\/test)?\/[^/]+\.test\.js$/, "");
    const { dependencies, devDependencies } = JSON.parse(await read(`${folder}/package.json`));
    return { ...devDependencies, ...dependencies }[name].replace(/^npm:.*@/, "");
  };
  const expected = await Promise.all(Object.entries(sdks).map(async ([name, sdk]) => [name, await installed(sdk), new URL(sdk.tests, "file:///").pathname.slice(1)]));
  const found = rows.map(([name, version, ...cells]) => [
    name?.replaceAll("`", ""), version, new URL(/\]\((.*?)\)/.exec(cells.at(-1) ?? "")?.[1] ?? "", "file:///web/client/").pathname.slice(1),
  ]);
  assert.deepEqual(found, expected);
  for (const row of rows) assert.ok(row.length === head?.length && row.every((cell) => cell), `${row}`);
});
