/**
 * Streams in a real browser, from a page of another origin: who may read and
 * write, reconnects, and how many connections a page has.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Page } from "playwright-core";
import { skip, withPage, withSite } from "./browser_kit.ts";
import { startServer, until, withServerOver, withTempDir } from "./server.ts";
import { client, publish, putTopic } from "./wire.ts";

const BLANK = { html: "<!doctype html><title>A page of somebody else</title>" };

interface Seen {
  readonly id: string;
  readonly topic: string;
  readonly text: string;
}

declare global {
  interface Window {
    seen: Seen[];
    opened: number;
    sources: EventSource[];
  }
}

describe("a page of another origin that may call the node", { skip }, () => {
  it("publishes with headers, and follows one topic and several", { timeout: 90_000 }, () =>
    withNode({ allowed: true }, async ({ page, origin }) => {
      for (const url of ["/v1/topics/orders/messages", "/v1/stream?topics=orders,refunds"]) {
        await follow(page, origin + url);
        const said = `by ${url}`;
        assert.equal(await publishFrom(page, { origin, text: said }), 201);
        await sees(page, [said]);
        const [event] = await page.evaluate(() => window.seen);
        assert.equal(event?.topic, "orders");
        await unfollow(page);
      }
    }),
  );

  it("reads a stream with fetch, and may see where to go on", { timeout: 60_000 }, () =>
    withNode({ allowed: true }, async ({ page, origin }) => {
      await publishFrom(page, { origin, text: "by fetch" });
      const read = await page.evaluate(async (origin) => {
        const headers = { accept: "text/event-stream", "last-event-id": "orders=earliest" };
        const answer = await fetch(`${origin}/v1/stream?topics=orders`, { headers });
        const reader = (answer.body as ReadableStream<BufferSource>)
          .pipeThrough(new TextDecoderStream())
          .getReader();
        let text = "";
        while (!text.includes("event: message\n")) text += (await reader.read()).value ?? "";
        await reader.cancel();
        const tail = await fetch(`${origin}/v1/topics/orders/messages`, { method: "HEAD" });
        return {
          text,
          requestId: answer.headers.get("x-request-id"),
          next: tail.headers.get("next-cursor"),
        };
      }, origin);
      assert.match(read.text, /^id: orders=\w+\nevent: message\ndata: .*"by fetch"/m);
      assert(read.requestId && read.next);
    }),
  );
});

describe("a page of another origin that may not", { skip }, () => {
  it("neither reads nor publishes", { timeout: 60_000 }, () =>
    withNode({ allowed: false }, async ({ page, origin, port }) => {
      const failed = await page.evaluate(
        (origin) =>
          new Promise<number>((resolve) => {
            const source = new EventSource(`${origin}/v1/stream?topics=orders`);
            source.addEventListener("error", () => resolve(source.readyState));
          }),
        origin,
      );
      assert.equal(failed, 2, "closed for good");
      // A form could send this without asking: the node has to refuse it by itself.
      const sent = await page.evaluate(
        (origin) =>
          fetch(`${origin}/v1/topics/orders/messages`, { method: "POST", body: "x" }).catch(
            () => "blocked",
          ),
        origin,
      );
      assert.equal(sent, "blocked");
      const answer = await client(port).request({ path: "/v1/topics/orders/messages" });
      assert.equal(answer.status, 204, "nothing was published");
    }),
  );
});

describe("an EventSource over several topics, from another origin", { skip }, () => {
  it("has neither gap nor repeat over restarts of the server", { timeout: 120_000 }, () =>
    withSite(BLANK, (site) =>
      withTempDir((dataDir) =>
        withPage(async (page) => {
          const args = ["--cors-origins", site];
          let server = await startServer({ dataDir, args });
          const { port, origin } = server;
          const said: string[] = [];
          const say = async (count: number) => {
            for (let n = 0; n < count; n++) {
              const body = `m${said.length}`;
              const topic = said.length % 2 ? "refunds" : "orders";
              await publish(client(port), topic, { body });
              said.push(body);
            }
          };
          try {
            for (const topic of ["orders", "refunds"]) await putTopic(client(port), topic);
            await page.goto(site);
            await follow(page, `${origin}/v1/stream?topics=orders,refunds`);
            for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
              await say(4);
              await sees(page, said);
              await server.kill(signal);
              server = await startServer({ dataDir, port, args });
              await say(4); // while the browser is away
              await sees(page, said);
            }
            const ids = await page.evaluate(() => window.seen.map(({ id }) => id));
            assert.equal(new Set(ids).size, said.length, "each message has an id of its own");
            assert((await page.evaluate(() => window.opened)) >= 4, "it reconnected by itself");
          } finally {
            await server.kill("SIGKILL");
          }
        }),
      ),
    ),
  );
});

describe("a stream read with fetch", { skip }, () => {
  it("goes on over a kill of the server from the last id it saw", { timeout: 120_000 }, () =>
    withTempDir((dataDir) =>
      withPage(async (page) => {
        let server = await startServer({ dataDir });
        const { port, origin } = server;
        const said: string[] = [];
        const say = async (count: number) => {
          for (let n = 0; n < count; n++) {
            said.push(`m${said.length}`);
            await publish(client(port), "orders", { body: said.at(-1) ?? "" });
          }
        };
        try {
          await putTopic(client(port), "orders");
          await page.goto(`${origin}/healthz`);
          await fetchAgainAndAgain(page, `${origin}/v1/stream?topics=orders`);
          for (let kill = 0; kill < 2; kill++) {
            await say(5);
            await sees(page, said);
            await server.kill("SIGKILL");
            server = await startServer({ dataDir, port });
            await say(5);
            await sees(page, said);
          }
        } finally {
          await server.kill("SIGKILL");
        }
      }),
    ),
  );
});

describe("the connections of a page", { skip }, () => {
  it(
    "are six, so six streams leave none; one stream over all topics leaves five",
    {
      timeout: 90_000,
    },
    () =>
      withNode({ allowed: true, topics: ["t0", "t1", "t2", "t3", "t4", "t5"] }, async (node) => {
        const { page, origin, topics } = node;
        for (const topic of topics) await follow(page, `${origin}/v1/topics/${topic}/messages`);
        assert.equal(await isAnswered(page, origin), false, "a seventh request waits");
        await unfollow(page);
        await follow(page, `${origin}/v1/stream?topics=${topics.join(",")}`);
        assert.equal(await isAnswered(page, origin), true);
      }),
  );
});

interface Node {
  readonly page: Page;
  readonly port: number;
  readonly origin: string;
  readonly topics: readonly string[];
}

/** A node with topics, and a page of another origin before it. */
function withNode(
  options: { readonly allowed: boolean; readonly topics?: readonly string[] },
  body: (node: Node) => Promise<void>,
): Promise<void> {
  const { allowed, topics = ["orders", "refunds"] } = options;
  return withSite(BLANK, (site) =>
    withTempDir((dataDir) => {
      const args = allowed ? ["--cors-origins", site] : [];
      return withServerOver({ dataDir, args }, ({ port, origin }) =>
        withPage(async (page) => {
          for (const topic of topics) await putTopic(client(port), topic);
          await page.goto(site);
          await body({ page, port, origin, topics });
        }),
      );
    }),
  );
}

/** Follows one more stream and resolves when it stands at a position. */
function follow(page: Page, url: string): Promise<void> {
  return page.evaluate(
    (url) =>
      new Promise<void>((resolve) => {
        window.seen = [];
        window.opened = 0;
        window.sources ??= [];
        const source = new EventSource(url);
        window.sources.push(source);
        source.addEventListener("open", () => window.opened++);
        source.addEventListener("message", ({ lastEventId, data }) => {
          const { topic, text } = JSON.parse(data) as { topic: string; text: string };
          window.seen.push({ id: lastEventId, topic, text });
        });
        source.addEventListener("control", () => resolve(), { once: true });
      }),
    url,
  );
}

function unfollow(page: Page): Promise<void> {
  return page.evaluate(() => {
    for (const source of window.sources.splice(0)) source.close();
  });
}

/** The same without an EventSource: reads until the stream breaks, then asks again from the last id. */
function fetchAgainAndAgain(page: Page, url: string): Promise<void> {
  return page.evaluate(
    (url) =>
      new Promise<void>((resolve) => {
        window.seen = [];
        let lastEventId = "";
        const take = (event: string) => {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(event)?.[1] ?? "";
          lastEventId = field("id") || lastEventId;
          if (field("event") === "control") resolve();
          if (field("event") !== "message") return;
          const { topic, text } = JSON.parse(field("data")) as { topic: string; text: string };
          window.seen.push({ id: lastEventId, topic, text });
        };
        const read = async () => {
          const headers = { accept: "text/event-stream", "last-event-id": lastEventId };
          const { body } = await fetch(url, { headers });
          const reader = (body as ReadableStream<BufferSource>)
            .pipeThrough(new TextDecoderStream())
            .getReader();
          let rest = "";
          for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
            const events = (rest + chunk.value).split("\n\n");
            rest = events.pop() ?? "";
            for (const event of events) take(event);
          }
        };
        const again = (): void => {
          read()
            .catch(() => {}) // the server is away
            .finally(() => void setTimeout(again, 100));
        };
        again();
      }),
    url,
  );
}

/** Publishes as a page does that sets headers of its own, which a browser asks for first. */
function publishFrom(
  page: Page,
  { origin, text }: { origin: string; text: string },
): Promise<number> {
  return page.evaluate(
    async ({ origin, text }) => {
      const headers = {
        "content-type": "text/plain",
        "message-key": "k",
        "message-property-from": "a page",
      };
      const url = `${origin}/v1/topics/orders/messages`;
      const answer = await fetch(url, { method: "POST", headers, body: text });
      if (!answer.headers.get("location")) throw new Error("Location cannot be read");
      return answer.status;
    },
    { origin, text },
  );
}

/** Whether one more request is answered, given time enough on any machine that is not stuck. */
function isAnswered(page: Page, origin: string): Promise<boolean> {
  return page.evaluate(
    (origin) =>
      fetch(`${origin}/healthz`, { signal: AbortSignal.timeout(3000) }).then(
        ({ ok }) => ok,
        () => false,
      ),
    origin,
  );
}

async function sees(page: Page, texts: readonly string[]): Promise<void> {
  const received = () => page.evaluate(() => window.seen.map(({ text }) => text));
  await until(async () => (await received()).length >= texts.length, "the page sees it", 20_000);
  // Between topics there is no order; within one there is.
  const seen = await page.evaluate(() => window.seen);
  assert.deepEqual(seen.map(({ text }) => text).toSorted(), texts.toSorted());
  for (const topic of new Set(seen.map((one) => one.topic))) {
    const numbers = seen
      .filter((one) => one.topic === topic)
      .map(({ text }) => Number(text.slice(1)));
    if (numbers.every((n) => n >= 0)) {
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      );
    }
  }
}
