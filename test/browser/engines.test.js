// Each driver does what engines.js says: the other tests rely on it.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";

import { engines, open } from "./engines.js";

const site = createServer((request, response) => {
  response.setHeader("content-type", "text/html");
  response.end(`<!doctype html><title>${request.url}</title><link rel=icon href=data:,>
    <section aria-label=One><button onclick="this.textContent = 'Pressed'">Press</button></section>
    <section aria-label=Two><button aria-label="Press two">2</button><label>Size <select><option value=s>small<option value=l>large</select></label></section>`);
});
before(() => new Promise((resolve) => site.listen(0, "127.0.0.1", resolve)));
after(() => {
  site.close();
  site.closeAllConnections();
});
const origin = () => `http://127.0.0.1:${site.address().port}`;

for (const engine of engines) {
  describe(`the driver of ${engine}`, { concurrency: true, timeout: 120_000 }, () => {
    test("runs functions in the page, before its own scripts and after", async (t) => {
      const { page, hosts } = await open(t, { engine });
      await page.addInitScript(() => void (window.early = document.title));
      await page.goto(`${origin()}/a`);
      assert.deepEqual(await page.evaluate(async ({ n }) => [n + 1, window.early, document.title], { n: 1 }), [2, "", "/a"]);
      await page.reload();
      assert.equal(await page.evaluate(() => window.early), "");
      await assert.rejects(page.evaluate(() => Promise.reject(new Error("no"))), /no/);
      const [, first] = await Promise.all([
        page.evaluate(() => new Promise((resolve) => (window.resolve = resolve))),
        page.evaluate(() => 1).then((one) => page.evaluate(() => window.resolve()).then(() => one)),
      ]);
      assert.equal(first, 1); // a function that waits does not keep others from running
      assert.deepEqual([...hosts], ["127.0.0.1"]);
    });

    test("finds elements by role and label, and clicks them", async (t) => {
      const { page } = await open(t, { engine });
      await page.goto(origin());
      const one = page.getByRole("region", { name: "One", exact: true });
      await one.getByRole("button", { name: "press" }).click();
      assert.equal(await one.getByText("Pressed").innerText(), "Pressed");
      assert.equal(await page.getByRole("button").count(), 2);
      await page.getByLabel("Size").selectOption("l");
      assert.equal(await page.locator("select").evaluate((select) => select.value), "l");
      await page.getByRole("region").filter({ hasText: "large" }).getByRole("button", { name: "Press two" }).waitFor();
      const { width } = await one.boundingBox();
      assert.ok(width > 100, `${width}`);
    });

    test("collects what the console shows as wrong", async (t) => {
      const { page, complaints } = await open(t, { engine });
      await page.goto(origin());
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

    test("has the size and the colours that are asked for", async (t) => {
      const { page } = await open(t, { engine, colorScheme: "dark", reducedMotion: "reduce", viewport: { width: 390, height: 700 } });
      await page.goto(origin());
      const looks = () => page.evaluate(() => [innerWidth, innerHeight, matchMedia("(prefers-color-scheme: dark)").matches, matchMedia("(prefers-reduced-motion: reduce)").matches]);
      assert.deepEqual(await looks(), [390, 700, true, true]);
      await page.setViewportSize({ width: 1920, height: 1080 });
      assert.deepEqual(await looks(), [1920, 1080, true, true]);
      assert.ok((await page.screenshot()).length > 1000);
    });

    test("is offline and online again", async (t) => {
      const { page, setOffline } = await open(t, { engine });
      await page.goto(origin());
      const state = () => page.evaluate(async () => [navigator.onLine, await fetch("/").then(() => true, () => false)]);
      assert.deepEqual(await state(), [true, true]);
      await setOffline(true);
      assert.deepEqual(await state(), [false, false]);
      const online = page.evaluate(() => new Promise((resolve) => addEventListener("online", () => resolve("online"))));
      await page.evaluate(() => 1);
      await setOffline(false);
      assert.equal(await online, "online");
      assert.deepEqual(await state(), [true, true]);
    });

    test("goes back to a page that was kept", async (t) => {
      const { page, back } = await open(t, { engine });
      await page.goto(`${origin()}/a`);
      await page.evaluate(() => void (window.kept = true));
      await page.goto(`${origin()}/b`);
      await back();
      assert.deepEqual(await page.evaluate(() => [document.title, window.kept]), ["/a", true]);
    });

    test("has windows, which a page opens or the test", async (t) => {
      const { page, popup, newPage } = await open(t, { engine });
      await page.goto(`${origin()}/a`);
      await page.evaluate(() => sessionStorage.setItem("of", "a"));
      const opened = await popup(() => page.evaluate(() => void window.open("/b")));
      const other = await newPage();
      await other.goto(`${origin()}/c`);
      const all = await Promise.all([page, opened, other].map((page) => page.evaluate(() => [document.title, sessionStorage.getItem("of")])));
      assert.deepEqual(all, [["/a", "a"], ["/b", "a"], ["/c", null]]);
    });

    test("hides and freezes its page", async (t) => {
      const { page, hide, show, freeze } = await open(t, { engine, alone: true });
      await page.goto(`${origin()}/a`);
      const becomes = (state) => page.evaluate((state) => new Promise((resolve) => {
        const look = () => document.visibilityState === state && resolve(state);
        document.addEventListener("visibilitychange", look);
        look();
      }), state);
      assert.equal(await becomes("visible"), "visible");
      const hidden = becomes("hidden");
      await hide();
      assert.equal(await hidden, "hidden");
      const visible = becomes("visible");
      await show();
      assert.equal(await visible, "visible");
      const thaw = freeze();
      const answer = page.evaluate(() => "thawed");
      assert.equal(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 500, "frozen"))]), "frozen");
      thaw();
      assert.equal(await answer, "thawed");
    });
  });
}
