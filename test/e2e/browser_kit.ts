/**
 * A real browser for tests. Chromium comes from the operating system; where it is
 * missing the tests are skipped, loudly, unless `TIDEGATE_REQUIRE` names `chromium`.
 *
 * A browser behaves the same whatever runs the test, so these tests run in the Bun
 * test run only, against the server on Bun.
 *
 * @module
 */

import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import type { Browser, Page } from "playwright-core";
import { currentRuntime } from "./server.ts";

const CHROMIUM = "/usr/bin/chromium";
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const required = (process.env["TIDEGATE_REQUIRE"] ?? "").split(",").includes("chromium");
/** For `describe(name, { skip }, …)`. */
export const skip =
  currentRuntime !== "bun"
    ? "runs once, on Bun"
    : !existsSync(CHROMIUM) && !required
      ? `no ${CHROMIUM}`
      : false;
if (skip) console.warn(`SKIPPED: the browser tests: ${skip}`);

/** One for all tests of a file: a start costs more than most of them. */
let launching: Promise<Browser> | undefined;

after(async () => {
  await (await launching)?.close();
});

async function launch(): Promise<Browser> {
  const { chromium } = await import("playwright-core");
  return chromium.launch({ executablePath: CHROMIUM, args: ARGS });
}

/** A page of a new profile: nothing is kept of pages before, connections neither. */
export async function withPage(body: (page: Page) => Promise<void>): Promise<void> {
  launching ??= launch();
  const browser = await launching;
  const context = await browser.newContext();
  try {
    await body(await context.newPage());
  } finally {
    await context.close();
  }
}

/** Serves one page on an origin of its own while `body` runs. */
export async function withSite<T>(
  page: { readonly html: string } | { readonly path: string },
  body: (origin: string) => Promise<T>,
): Promise<T> {
  const site = createServer((_, answer) => {
    answer.setHeader("content-type", "text/html; charset=utf-8");
    answer.end("html" in page ? page.html : readFileSync(page.path));
  });
  await new Promise<void>((resolve) => void site.listen(0, "127.0.0.1", resolve));
  try {
    return await body(`http://127.0.0.1:${(site.address() as AddressInfo).port}`);
  } finally {
    site.closeAllConnections();
    await new Promise((resolve) => void site.close(resolve));
  }
}
