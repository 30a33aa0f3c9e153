/**
 * The example page as a newcomer opens it: from a server of files, or as a file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { skip, withPage, withSite } from "./browser_kit.ts";
import { ROOT, type Server, startServer, until, withServer, withTempDir } from "./server.ts";
import { client, lagOf, publish } from "./wire.ts";

const PATH = join(ROOT, "docs", "examples", "index.html");

describe("the example page", { skip }, () => {
  it("publishes, and watches several topics over a kill and a reload", { timeout: 120_000 }, () =>
    withExample(async ({ page, open, restart, server }) => {
      await open();
      await watch(page, "beginning");
      for (const [topic, body] of [
        ["orders", '{ "total": 12 }'],
        ["payments", "paid <b>in full</b>"],
      ] as const) {
        await fill(page, "#publish", { topic, body });
        await submit(page, "#publish");
      }
      await shows(page, "#seen", 2);
      const seen = await page.locator("#seen li").allInnerTexts();
      assert(seen.some((text) => text.includes("orders") && text.includes('"total": 12')));
      assert(
        seen.some((text) => text.includes("payments") && text.includes("paid <b>in full</b>")),
      );
      assert.match(
        await page.locator("#published").innerText(),
        /^Stored as \S+ in queue \d of payments\.$/,
      );

      await restart("SIGKILL");
      await say(server(), "payments", "while it was away");
      await shows(page, "#seen", 3);
      await page.locator("#unwatch").click();
      await say(server(), "orders", "while it was closed");

      await page.reload();
      await fillNode(page, server());
      await watch(page, "page was");
      await shows(page, "#seen", 1);
      assert.match(await page.locator("#seen").innerText(), /while it was closed/);
      await says(page, "#watching", "up to date");
    }),
  );

  it("says when a topic is gone, and stops when all are", { timeout: 60_000 }, () =>
    withExample(async ({ page, open, server }) => {
      await open();
      await watch(page, "now on");
      await says(page, "#watching", "up to date");
      const remove = (topic: string) =>
        client(server().port).request({ method: "DELETE", path: `/v1/topics/${topic}` });
      await remove("payments");
      await says(page, "#watching", "up to date, but payments was deleted");
      await remove("orders");
      await says(page, "#watching", "ended for good");
    }),
  );

  it("works as a member of a group, also after a reload", { timeout: 120_000 }, () =>
    withExample(async ({ page, open, server }) => {
      await open();
      const sender = client(server().port);
      await submit(page, "#work");
      await says(page, "#working", "ready for work");
      for (let n = 0; n < 5; n++) await say(server(), "orders", `order ${n}`);
      await shows(page, "#leases", 3);
      await settleOldest(page, "Done");
      await shows(page, "#leases", 4); // there was room for another
      await settleOldest(page, "Later");
      await shows(page, "#leases", 5);
      await says(page, "#leases", "done: ok");
      await says(page, "#leases", "later: ok");
      const held = () => page.locator("#leases li:not(.settled) .body").allInnerTexts();
      const before = await held();

      await page.reload();
      await fillNode(page, server());
      await submit(page, "#work");
      await shows(page, "#leases", before.length);
      assert.deepEqual((await held()).toSorted(), before.toSorted(), "what it held came again");
      for (let left = 3; left > 0; left--) await settleOldest(page, "Done");
      await page.locator("#leases li").filter({ hasText: "attempt 2" }).waitFor();
      await settleOldest(page, "Done");
      await until(async () => (await lagOf(sender, "billing")) === 0, "all is done");
    }),
  );

  it("tells how to let it in when it may not call the node", { timeout: 60_000 }, () =>
    withSite({ path: PATH }, (site) =>
      withServer((server) =>
        withPage(async (page) => {
          await page.goto(site);
          await fillNode(page, server);
          await submit(page, "#publish");
          await says(page, "#trouble", "--cors-origins");
          await submit(page, "#watch");
          await says(page, "#trouble", "--cors-origins");
        }),
      ),
    ),
  );

  it("works as a file, where every page may call the node", { timeout: 60_000 }, () =>
    withServer(
      (server) =>
        withPage(async (page) => {
          await page.goto(pathToFileURL(PATH).href);
          await fillNode(page, server);
          await watch(page, "now on");
          await says(page, "#watching", "up to date");
          await submit(page, "#publish");
          await shows(page, "#seen", 1);
        }),
      { args: ["--cors-origins", "*"] },
    ),
  );
});

interface Example {
  readonly page: Page;
  server(): Server;
  open(): Promise<void>;
  restart(signal: NodeJS.Signals): Promise<void>;
}

/** The page on an origin of its own, which may call the node; it must ask nobody else and not fail. */
function withExample(body: (example: Example) => Promise<void>): Promise<void> {
  return withSite({ path: PATH }, (site) =>
    withTempDir((dataDir) =>
      withPage(async (page) => {
        const args = ["--cors-origins", site];
        let server = await startServer({ dataDir, args });
        const { port, origin } = server;
        const others: string[] = [];
        const errors: string[] = [];
        page.on("pageerror", (error) => errors.push(error.message));
        page.on("request", (request) => {
          const ours = [site, origin, "data:"].some((known) => request.url().startsWith(known));
          if (!ours) others.push(request.url());
        });
        try {
          await body({
            page,
            server: () => server,
            async open() {
              await page.goto(site);
              await fillNode(page, server);
            },
            async restart(signal) {
              await server.kill(signal);
              server = await startServer({ dataDir, port, args });
            },
          });
          assert.deepEqual([others, errors], [[], []]);
        } finally {
          await server.kill("SIGKILL");
        }
      }),
    ),
  );
}

function fillNode(page: Page, { origin }: Server): Promise<void> {
  return page.locator("#node").fill(origin);
}

async function fill(page: Page, form: string, fields: Readonly<Record<string, string>>) {
  for (const [name, value] of Object.entries(fields)) {
    await page.locator(`${form} [name="${name}"]`).fill(value);
  }
}

function submit(page: Page, form: string): Promise<void> {
  return page.locator(`${form} button[type="submit"]`).click();
}

async function watch(page: Page, from: string): Promise<void> {
  const options = page.locator('#watch [name="after"] option');
  const value = await options.filter({ hasText: from }).getAttribute("value");
  await page.locator('#watch [name="after"]').selectOption(value);
  await submit(page, "#watch");
}

function settleOldest(page: Page, word: string): Promise<void> {
  return page
    .locator("#leases li:not(.settled)")
    .last()
    .getByRole("button", { name: word })
    .click();
}

async function shows(page: Page, list: string, count: number): Promise<void> {
  const items = page.locator(`${list} li`);
  await until(async () => (await items.count()) >= count, `${list} shows ${count}`, 20_000);
  assert.equal(await items.count(), count);
}

async function says(page: Page, id: string, text: string): Promise<void> {
  await page.locator(id).filter({ hasText: text }).waitFor({ timeout: 20_000 });
}

async function say({ port }: Server, topic: string, body: string): Promise<void> {
  await publish(client(port), topic, { body });
}
