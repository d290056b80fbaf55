// Takes the README's pictures, and saves them in the folder SCREENSHOTS if that variable is set.

import assert from "node:assert/strict";
import { mkdtemp, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { metricsRead, visit } from "../demo.js";
import { Service } from "../service.js";

const service = new Service("demo");
before(() => service.start());
after(() => service.stop());

const folder = process.env.SCREENSHOTS ?? (await mkdtemp(join(tmpdir(), "screenshots-")));
const desktop = { viewport: { width: 1280, height: 860 } };

/** Opens the page, and waits for several renewals of the call. */
async function going(t, options, { url } = service) {
  const opened = await visit(t, `${url}/?ttl=10`, options);
  await Promise.all([opened.ana.reached({ call: "in", renewals: 3 }), opened.ben.reached({ call: "in", renewals: 3 })]);
  return opened;
}

async function take(page, name, options) {
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path, ...options });
  assert.ok((await stat(path)).size > 20_000, `${name} shows nothing`);
}

describe("the pictures of the README", { concurrency: true, timeout: 90_000 }, () => {
  for (const colorScheme of ["light", "dark"]) {
    test(`the call, ${colorScheme}`, async (t) => {
      const { page } = await going(t, { ...desktop, colorScheme });
      await take(page, colorScheme);
    });
  }

  test("the call on a phone", async (t) => {
    const { page } = await going(t, { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5 });
    await take(page, "phone");
  });

  test("a dropped call beside a kept one, and the operators' view", async (t) => {
    const own = await new Service("demo").start(); // a service for this test only, so that its metrics count only these two calls
    t.after(() => own.stop());
    const { page, ben } = await going(t, { ...desktop, colorScheme: "light" }, own);
    await ben.switch("Refresher").click();
    await ben.reached({ call: "out", refresher: "off" });
    await page.waitForTimeout(3000); // waits, so that the picture shows some seconds that the call has lost
    await take(page, "dropped");
    await page.getByRole("link", { name: "Operators" }).click();
    await metricsRead(page, 12);
    await take(page, "operators");
  });
});
