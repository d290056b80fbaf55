// What the other tests take for granted of each engine's driver, and would not notice if it were
// missing: that faults are seen.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { engines, open } from "./engines.js";

const site = createServer((_, response) => {
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><title>A page</title><link rel=icon href=data:,>");
});
before(() => new Promise((resolve) => site.listen(0, "127.0.0.1", resolve)));
after(() => {
  site.close();
  site.closeAllConnections();
});

for (const engine of engines) {
  test(`the driver of ${engine} reports the console's errors and a function that fails, and sets the page's size and colours`, { timeout: 120_000 }, async (t) => {
    const { page, complaints } = await open(t, { engine, colorScheme: "dark", reducedMotion: "reduce", viewport: { width: 390, height: 700 } });
    await page.goto(`http://127.0.0.1:${site.address().port}`);
    const looks = () => page.evaluate(() => [innerWidth, innerHeight, matchMedia("(prefers-color-scheme: dark)").matches, matchMedia("(prefers-reduced-motion: reduce)").matches]);
    assert.deepEqual(await looks(), [390, 700, true, true]);
    await page.setViewportSize({ width: 1920, height: 1080 });
    assert.deepEqual(await looks(), [1920, 1080, true, true]);
    await assert.rejects(page.evaluate(() => Promise.reject(new Error("no"))), /no/);
    await page.evaluate(() => {
      console.log("fine");
      console.error("an error");
      console.warn("a warning");
      setTimeout(() => { throw new Error("thrown"); });
      void Promise.reject(new Error("rejected"));
      return new Promise((resolve) => setTimeout(resolve, 100)); // uncaught errors are reported late
    });
    await page.reload();
    assert.deepEqual(complaints.toSorted(), ["error: an error", "uncaught: Error: rejected", "uncaught: Error: thrown", "warning: a warning"]);
  });
}
