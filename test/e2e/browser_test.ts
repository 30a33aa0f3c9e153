/**
 * A real browser's EventSource against a real server, and the pages a person
 * opens.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Page } from "playwright-core";
import { skip, withPage } from "./browser_kit.ts";
import { type Server, startServer, until, withServer, withTempDir } from "./server.ts";
import { client, publish, putTopic } from "./wire.ts";

/** The page's global: what its EventSource has received. */
declare global {
  interface Window {
    received: { id: string; body: string }[];
    opened: number;
  }
}

describe("an EventSource in a browser", { skip }, () => {
  it("has neither gap nor repeat over restarts of the server", { timeout: 120_000 }, () =>
    withTempDir((dataDir) =>
      withPage(async (page) => {
        let server = await startServer({ dataDir });
        const { port, origin } = server;
        try {
          await putTopic(client(port), "orders");
          await listen(page, `${origin}/v1/topics/orders/messages`);
          const bodies: string[] = [];
          for (const signal of ["SIGKILL", "SIGTERM", undefined] as const) {
            for (let n = 0; n < 5; n++) bodies.push(await say(server, `m${bodies.length}`));
            await sees(page, bodies);
            if (!signal) break;
            await server.kill(signal);
            server = await startServer({ dataDir, port });
            // Published while the browser is away, it must not be missed.
            for (let n = 0; n < 5; n++) bodies.push(await say(server, `m${bodies.length}`));
            await sees(page, bodies);
          }
          const ids = await page.evaluate(() => window.received.map((event) => event.id));
          assert.equal(new Set(ids).size, bodies.length, "each message has an id of its own");
          assert((await page.evaluate(() => window.opened)) >= 3, "it reconnected by itself");
        } finally {
          await server.kill("SIGKILL");
        }
      }),
    ),
  );

  it("misses nothing when it reconnects before its first message", { timeout: 60_000 }, () =>
    withTempDir((dataDir) =>
      withPage(async (page) => {
        let server = await startServer({ dataDir });
        try {
          const { port, origin } = server;
          await putTopic(client(port), "orders");
          await say(server, "before it came");
          await listen(page, `${origin}/v1/topics/orders/messages`);
          await server.kill("SIGKILL");
          server = await startServer({ dataDir, port });
          await say(server, "while it was away");
          await sees(page, ["while it was away"]);
        } finally {
          await server.kill("SIGKILL");
        }
      }),
    ),
  );
});

describe("/docs in a browser", { skip }, () => {
  it("shows the operations and asks nobody else for anything", { timeout: 60_000 }, () =>
    withServer((server) =>
      withPage(async (page) => {
        const requested: string[] = [];
        const errors: string[] = [];
        page.on("request", (request) => requested.push(request.url()));
        page.on("pageerror", (error) => errors.push(error.message));
        page.on("console", (message) => {
          if (message.type() === "error") errors.push(message.text());
        });
        await page.goto(`${server.origin}/docs`);
        const operation = page
          .locator('.opblock [data-path="/v1/topics/{topic}/messages"]')
          .first();
        await operation.waitFor({ timeout: 20_000 });
        await operation.click(); // Opening one renders its parameters, answers and examples.
        await page.locator(".opblock.is-open .responses-table").first().waitFor();
        const others = requested.filter(
          (url) => !url.startsWith(server.origin) && !url.startsWith("data:"),
        );
        assert.deepEqual(others, []);
        assert.deepEqual(errors, []);
      }),
    ),
  );
});

/** Opens the stream from a page of the same origin and resolves when it is open. */
async function listen(page: Page, url: string): Promise<void> {
  await page.goto(new URL("/healthz", url).href);
  await page.evaluate(
    (url) =>
      new Promise<void>((resolve) => {
        window.received = [];
        window.opened = 0;
        const source = new EventSource(url);
        source.addEventListener("open", () => window.opened++);
        source.addEventListener("message", ({ lastEventId, data }) => {
          window.received.push({ id: lastEventId, body: JSON.parse(data).text });
        });
        // The first event carries the position: from here on nothing may be missed.
        source.addEventListener("control", () => resolve(), { once: true });
      }),
    url,
  );
}

async function say(server: Server, body: string): Promise<string> {
  await publish(client(server.port), "orders", { body });
  return body;
}

async function sees(page: Page, bodies: readonly string[]): Promise<void> {
  const received = () => page.evaluate(() => window.received.map((event) => event.body));
  await until(
    async () => (await received()).length >= bodies.length,
    "the browser sees it",
    20_000,
  );
  assert.deepEqual(await received(), bodies);
}
