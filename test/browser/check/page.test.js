// What the demo page has to be, whoever looks at it: accessible by axe in both
// views and themes and on a phone, small, and under a strict policy.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { readFile } from "node:fs/promises";
import { metricsRead, visit } from "../demo.js";
import { Service } from "../service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const limit = 150 * 1024;

const looks = [
  { name: "light", options: { colorScheme: "light", viewport: { width: 1280, height: 900 } } },
  { name: "dark", options: { colorScheme: "dark", viewport: { width: 1280, height: 900 } } },
  { name: "a phone", options: { colorScheme: "light", viewport: { width: 320, height: 640 } } },
  { name: "a phone in the dark", options: { colorScheme: "dark", viewport: { width: 360, height: 740 } } },
];

describe("the demo page", () => {
  for (const { name, options } of looks) {
    for (const view of ["", "#operators"]) {
      test(`has no violations by axe and no sideways scrolling: ${name}, ${view || "the call"}`, async (t) => {
        // The policy forbids scripts that are not the page's own, such as axe.
        const { page, ana, ben } = await visit(t, `${service.url}/${view}`, { ...options, bypassCSP: true });
        if (view) await metricsRead(page, 2);
        else {
          await Promise.all([ana.reached({ call: "in", refresher: "live" }), ben.reached({ call: "in", refresher: "live" })]);
          await ben.press("Revoke"); // so that an ended one is looked at, too
          await ben.reached({ refresher: "ended" });
        }
        const { violations, incomplete, passes } = await page.evaluate(async (axe) => {
          new Function(axe)();
          return window.axe.run(document, { resultTypes: ["violations", "incomplete"] });
        }, axe);
        const told = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`));
        assert.deepEqual(told, []);
        assert.ok(passes.length > 10, "axe looked at next to nothing");
        t.diagnostic(`axe: ${passes.length} rules passed, undecided: ${incomplete.map(({ id }) => id).join(", ") || "none"}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${wide} px`); // below 0: room for a scrollbar
      });
    }
  }

  test(`weighs less than ${limit} bytes, all that it loads`, async (t) => {
    const { page, ana } = await visit(t, `${service.url}/`);
    await ana.reached({ call: "in" });
    await page.getByRole("link", { name: "Operators" }).click();
    await metricsRead(page, 1);
    const files = await page.evaluate(() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .filter(({ name }) => !/\/(demo|v1)\//.test(new URL(name).pathname)) // data, not the page
      .map((entry) => [entry.name, /** @type {any} */ (entry).decodedBodySize]));
    const bytes = files.reduce((sum, [, size]) => sum + size, 0);
    t.diagnostic(`${files.length} files, ${bytes} bytes, uncompressed`);
    assert.ok(files.length > 5 && bytes > 10_000, "the page loaded next to nothing");
    assert.ok(bytes < limit, `${bytes}`);
  });

  test("allows nothing that it does not need", async () => {
    const answer = await fetch(service.url);
    const policy = answer.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /script-src 'self'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*|(script|connect|default)-src[^;]*data:/);
  });
});
