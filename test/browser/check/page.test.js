// Requirements of the demo page: axe finds no violations, in both views, in both themes and on a phone; the
// page's size stays below a limit; the page has a strict content security policy.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { readFile } from "node:fs/promises";
import { metricsRead, visit } from "../demo.js";
import { Service } from "../service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

test("the page's six lines are the first example of the library's README", async () => {
  const [readme, page] = await Promise.all(["web/client/README.md", "web/demo/index.html"].map((path) => readFile(new URL(`../../../${path}`, import.meta.url), "utf8")));
  const lines = /<code id="snippet">([^]*?)<\/code>/.exec(page)?.[1]?.replaceAll("&gt;", ">");
  assert.ok(lines && readme.includes(`\n${lines}\n`), lines);
});

const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
/** Limits of the compressed size, in bytes. Comments count, since the sources are served unchanged. */
const limits = { page: 46 * 1024, library: 36 * 1024 };

const looks = [
  { name: "light", options: { colorScheme: "light", viewport: { width: 1280, height: 900 } } },
  { name: "dark", options: { colorScheme: "dark", viewport: { width: 1280, height: 900 } } },
  { name: "a phone", options: { colorScheme: "light", viewport: { width: 320, height: 640 } } },
];

describe("the demo page", () => {
  for (const { name, options } of looks) {
    for (const view of ["", "#operators"]) {
      test(`has no violations by axe and no sideways scrolling: ${name}, ${view || "the call"}`, async (t) => {
        // bypassCSP is needed, since the page's content security policy forbids axe, a script of another origin.
        const { page, ana, ben } = await visit(t, `${service.url}/${view}`, { ...options, bypassCSP: true });
        if (view) await metricsRead(page, 2);
        else {
          await Promise.all([ana.reached({ call: "in", refresher: "live" }), ben.reached({ call: "in", refresher: "live" })]);
          await ben.press("Revoke"); // so that axe also checks a call that has ended
          await ben.reached({ refresher: "ended" });
          await ana.section.locator("summary").click(); // unfolds the timeline
          await ben.section.getByRole("list", { name: "Timeline of Ben" }).waitFor();
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
        assert.ok(wide <= 0, `${wide} px`); // the difference is negative if the page leaves room for a scrollbar
      });
    }
  }

  test("can be used in forced colours", async (t) => {
    const { page, context, ana, ben } = await visit(t, `${service.url}/`, { forcedColors: "active", colorScheme: "dark", viewport: { width: 1280, height: 900 } });
    await Promise.all([ana.reached({ call: "in" }), ben.reached({ call: "in" })]);
    await ben.press("Revoke");
    await ben.reached({ refresher: "ended" });
    const blank = await context.newPage();
    /** Returns the colours in an element's screenshot, and the fraction of the pixels that each has. */
    const seen = async (locator, width) => {
      await locator.scrollIntoViewIfNeeded();
      const box = await locator.boundingBox();
      const png = await page.screenshot({ clip: { ...box, width: width ?? box.width } });
      return blank.evaluate(async (png) => {
        const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
        const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
        context.drawImage(picture, 0, 0);
        const pixels = new Uint32Array(context.getImageData(0, 0, picture.width, picture.height).data.buffer);
        const shares = {};
        for (const pixel of pixels) shares[pixel] = (shares[pixel] ?? 0) + 1 / pixels.length;
        return Object.entries(shares).sort(([, one], [, other]) => other - one);
      }, png.toString("base64"));
    };
    const [[ground]] = await seen(page.getByRole("heading", { level: 1 }));
    const drawn = (shares) => shares.reduce((sum, [colour, share]) => sum + (colour === ground ? 0 : share), 0);
    const switches = await page.getByRole("switch").all();
    assert.equal(switches.length, 7);
    for (const one of switches) {
      const share = drawn(await seen(one));
      assert.ok(await one.isChecked() ? share > 0.6 : share > 0.2 && share < 0.6, `a switch: ${share}`);
    }
    await ana.section.locator("summary").click(); // both unfold
    for (const { section } of [ana, ben]) {
      for (const name of [".call", ".refresher", ".timeline li"]) {
        const share = drawn(await seen(section.locator(name).first(), name === ".timeline li" ? 24 : 8));
        assert.ok(share > 0.03, `the dot of ${name}: ${share}`);
      }
      assert.ok(drawn(await seen(section.getByRole("meter"))) > 0.05, "the ring");
    }
    const [[[here]], [[elsewhere]]] = await Promise.all(["Call", "Operators"].map((name) => seen(page.getByRole("link", { name }))));
    assert.notEqual(here, elsewhere, "the current view looks like the other");
  });

  test("names the person in each control's label, and announces what was copied", async (t) => {
    const { page, context, ana, ben } = await visit(t, `${service.url}/`);
    await Promise.all([ana.reached({ call: "in" }), ben.reached({ call: "in" })]);
    await ana.section.locator("summary").click();
    await ben.section.getByRole("button", { name: "Copy the token of Ben" }).waitFor();
    const names = [...(await page.locator("body").ariaSnapshot()).matchAll(/- ((?:button|switch|list|meter|region) "[^"]+")/g)].map(([, name]) => name);
    assert.ok(names.length > 20 && names.includes('button "Revoke Ben"'), `${names}`);
    assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), []);
    await context.grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy the six lines" }).click();
    await page.getByRole("status").filter({ hasText: "Copied the six lines." }).waitFor({ state: "attached" });
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^import \{ Refresher \}[^]*\("rtc"\)\);$/);
  });

  test(`weighs less than ${limits.page} bytes, and the library less than ${limits.library}, all that it loads`, async (t) => {
    const { page, ana } = await visit(t, `${service.url}/`);
    await ana.reached({ call: "in" });
    await page.getByRole("link", { name: "Operators" }).click();
    await metricsRead(page, 1);
    const files = await page.evaluate(() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
      .filter(({ name }) => !/\/(demo|v1)\//.test(new URL(name).pathname)) // requests for data do not count as the page's size
      .map((entry) => [entry.name, /** @type {any} */ (entry).encodedBodySize]));
    const ofLibrary = ([name]) => /\/client\/(?!testing|edge-connection)/.test(name); // without testing.js and edge-connection.js, which replace Agora's SDK in the demo
    const parts = { page: files.filter((file) => !ofLibrary(file)), library: files.filter(ofLibrary) };
    for (const [part, files] of Object.entries(parts)) {
      const bytes = files.reduce((sum, [, size]) => sum + size, 0);
      t.diagnostic(`${part}: ${files.length} files, ${bytes} bytes, as they are sent`);
      assert.ok(files.length > 5 && bytes > 10_000, "the page loaded next to nothing");
      assert.ok(bytes < limits[part], `${part}: ${bytes}`);
    }
  });

  test("has a content security policy without unsafe sources", async () => {
    const answer = await fetch(service.url);
    const policy = answer.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /script-src 'self'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*|(script|connect|default)-src[^;]*data:/);
  });
});
