/**
 * What every HTTP adapter promises, over real sockets and with clients that
 * are slow, wrong, or gone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Handle, Host, HttpServer, Runtime } from "../../src/runtime/runtime.ts";
import { drip, RawClient, request } from "../fakes/raw_client.ts";
import { until } from "../fakes/stream_reader.ts";

export interface AdapterCase {
  readonly runtime: Runtime;
  readonly exposed: boolean;
  readonly adapter: string;
  /** Bytes it takes in the middle of an answer; a client that does not read learns from them whether it is cut off. */
  readonly ignored?: string;
  /** Stands behind a proxy that deals with slow clients, and has no timeout of its own. */
  readonly patient?: true;
  /** Cannot break a connection once it was told to stop: denoland/deno has no call for it. */
  readonly leavesConnections?: true;
}

/** Bun closes a connection that sends no whole header after twelve seconds, whatever it is told. */
const CUT_OFF_MS_MAX = 15_000;
const PATIENCE = { headersMs: 1000, requestMs: 2000, silentMs: 1000, streamSilentMs: 8000 };
/** Longer than any of them, with the lateness an adapter may have. */
const SILENCE_MS = 6000;

const MiB = 1024 * 1024;
const bytes = (text: string) => new TextEncoder().encode(text);

export function testHttpAdapter(tested: AdapterCase): void {
  describe(`${tested.adapter} on ${tested.runtime.name}`, () => {
    let handle: Handle;
    let server: HttpServer;
    const handled: string[] = [];

    before(async () => {
      const { runtime, exposed } = tested;
      const options = { hostname: "127.0.0.1", port: 0, exposed, patience: PATIENCE };
      server = await runtime.serve(options, (request, host) => {
        handled.push(new URL(request.url).pathname);
        return handle(request, host);
      });
    });
    after(() => server.abort());

    const open = (raw = "") => new RawClient(server.port).send(raw);
    const serving = (next: Handle) => {
      handle = next;
      handled.length = 0;
    };

    it("says who it is and where", () => {
      assert.equal(server.adapter, tested.adapter);
      assert(server.port > 0);
    });

    it("hands on method, URL, headers and body, and the answer back", async () => {
      serving(async (request) => {
        const body = await request.text();
        const said = `${request.method} ${request.url} ${request.headers.get("x-a")} ${body}`;
        return new Response(said, { status: 201, headers: { "x-b": "c" } });
      });
      const client = open(request("POST /a?b=c", ["X-A: 1", "Content-Length: 5"], "hello"));
      await until(() => client.received.endsWith("hello"), "the answer arrived");
      assert.match(client.received, /^HTTP\/1\.1 201 /);
      assert.match(client.received, /^x-b: c\r$/im);
      assert.match(client.received, /POST http:\/\/gateway\/a\?b=c 1 hello$/);
      client.leave();
    });

    it("gives a body as bytes, an empty one too", async () => {
      serving(async (request) => new Response(`${(await request.bytes()).join()}.`));
      const client = open(request("POST /", ["Content-Length: 3"], "abc"));
      await until(() => client.received.endsWith("97,98,99."), "the bytes came back");
      client.send(request("POST /", ["Content-Length: 0"]));
      await until(() => client.received.endsWith("\r\n\r\n."), "there were none");
      client.leave();
    });

    it("lets a body through that is larger than the gateway takes", async () => {
      serving(async (request) => new Response(String((await request.arrayBuffer()).byteLength)));
      const size = 17 * MiB;
      const client = open(request("POST /", [`Content-Length: ${size}`]));
      client.send("x".repeat(size));
      await until(() => client.received.endsWith(String(size)), "it was counted");
      client.leave();
    });

    if (!tested.patient) {
      it("cuts off whoever is slow", { timeout: 30_000 }, async () => {
        serving(async (request, host) => {
          if (request.url.endsWith("/held")) {
            host.holdOpen(request);
            return new Response("held");
          }
          if (request.url.endsWith("/failing")) {
            host.holdOpen(request);
            return floodThatFails();
          }
          await request.arrayBuffer();
          return new Response("read");
        });
        const held = open(request("GET /held"));
        await until(() => held.received.endsWith("held"), "the held request is answered");
        const stuck = open(request("GET /failing"));
        stuck.pause();
        const slow: Record<string, RawClient> = {
          silent: open(),
          "partial header": open("GET / HT"),
          "dripping header": drip(open("GET / HTTP/1.1\r\nHost: x\r\nX: "), "a"),
          "stopped body": open(request("POST /", ["Content-Length: 10"], "abc")),
          "partial header after a held request": held.send("GET / HT"),
          "stream that fails while nothing of it is taken": drip(stuck, tested.ignored ?? "\r\n"),
          "dripping body": drip(open(request("POST /", ["Content-Length: 999"], "abc")), "a"),
        };
        const since = performance.now();
        for (const [name, client] of Object.entries(slow)) {
          await within(client.closed, CUT_OFF_MS_MAX, name);
          assert.doesNotMatch(client.received, /read/, name);
        }
        assert(performance.now() - since < CUT_OFF_MS_MAX);
      });
    }

    it("lets a held request and a held stream be silent", { timeout: 30_000 }, async () => {
      serving((request, host) => {
        host.holdOpen(request);
        return request.url.endsWith("/stream") ? lateStream() : lateAnswer();
      });
      const clients = [open(request("GET /answer")), open(request("GET /stream"))];
      await until(() => clients[1]?.received.includes("early") === true, "the stream began");
      await Promise.race([delay(SILENCE_MS), ...clients.map(({ closed }) => closed)]);
      for (const client of clients) {
        assert.equal(client.closedAt, undefined);
        await until(() => client.received.includes("late"), "the late part arrived");
        client.leave();
      }
    });

    it("sends the first bytes of a stream at once, and cancels it when the reader goes", async () => {
      let cancelled = false;
      serving((request, host) => {
        host.holdOpen(request);
        return eventStream({
          start: (controller) => controller.enqueue(bytes("data: 1\n\n")),
          cancel: () => void (cancelled = true),
        });
      });
      const client = open(request("GET /"));
      await until(() => client.received.includes("data: 1"), "the first bytes arrived");
      client.leave();
      await until(() => cancelled, "the stream was cancelled");
    });

    it("aborts the request's signal when the client goes before the answer", async () => {
      let signal: AbortSignal | undefined;
      serving((request, host) => {
        host.holdOpen(request);
        ({ signal } = request);
        return new Promise<Response>((resolve) => {
          request.signal.addEventListener("abort", () => resolve(new Response("to nobody")));
        });
      });
      const client = open(request("GET /"));
      await until(() => signal !== undefined, "the request arrived");
      assert.equal(signal?.aborted, false);
      client.leave();
      await until(() => signal?.aborted === true, "the signal came");
    });

    it("stops asking a stream for more when the reader takes nothing", async () => {
      let produced = 0;
      serving((request, host) => {
        host.holdOpen(request);
        return eventStream({
          pull: (controller) => {
            produced += 64 * 1024;
            controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
          },
        });
      });
      const client = open(request("GET /"));
      client.pause();
      let before = -1;
      await until(() => {
        const settled = produced > 0 && produced === before;
        before = produced;
        return settled;
      }, "it stopped");
      await delay(100);
      assert(produced < 32 * MiB, `${produced} bytes for a reader that takes nothing`);
      client.leave();
    });

    it("breaks the connection of a stream that fails, and tells nothing of it", async () => {
      let fail: ((error: Error) => void) | undefined;
      serving((request, host) => {
        host.holdOpen(request);
        return eventStream({
          start: (controller) => {
            controller.enqueue(bytes("data: 1\n\n"));
            fail = (error) => controller.error(error);
          },
        });
      });
      const client = open(request("GET /"));
      await until(() => client.received.includes("data: 1"), "the first bytes arrived");
      fail?.(new Error("secret"));
      await within(client.closed, 5000, "a failed stream");
      assert.doesNotMatch(client.received, /secret|\r\n0\r\n\r\n$/);
    });

    for (const [how, thrower] of [
      [
        "throws",
        () => {
          throw new Error("secret");
        },
      ],
      ["rejects", () => Promise.reject(new Error("secret"))],
    ] as const satisfies [string, Handle][]) {
      it(`answers 500 and no more when a handler ${how}`, async () => {
        serving(thrower);
        const client = open(request("GET /"));
        await until(() => client.statuses.length === 1, "the answer arrived");
        assert.deepEqual(client.statuses, [500]);
        assert.doesNotMatch(client.received, /secret/);
        client.leave();
      });
    }

    it("refuses headers above its limit", { timeout: 20_000 }, async () => {
      serving(() => new Response("handled"));
      const client = open(request("GET /", [`X-Large: ${"a".repeat(300 * 1024)}`]));
      await within(client.closed, 5000, "a request with large headers");
      assert.doesNotMatch(client.received, /handled/);
      for (const status of client.statuses) assert([400, 431].includes(status), String(status));
    });

    for (const [name, raw] of MALFORMED) {
      it(`answers ${name} with 400, or not at all, and closes`, { timeout: 20_000 }, async () => {
        serving(async (request) => {
          await request.arrayBuffer().catch(() => {});
          return new Response("handled");
        });
        const client = open(raw);
        await within(client.closed, 14_000, name);
        assert(!handled.includes("/smuggled"), "a second request was smuggled in");
        assert(client.statuses.filter((status) => status < 400).length === 0, client.received);
      });
    }

    it("stops when what is in flight is answered, idle connections notwithstanding", async () => {
      let answer: ((response: Response) => void) | undefined;
      serving((request) =>
        request.url.endsWith("/slow")
          ? new Promise<Response>((resolve) => void (answer = resolve))
          : new Response("quick"),
      );
      const idle = open(request("GET /quick"));
      await until(() => idle.received.endsWith("quick"), "one connection is idle");
      const busy = open(request("GET /slow"));
      await until(() => answer !== undefined, "one request is in flight");

      let stopped = false;
      const stopping = server.stop().then(() => (stopped = true));
      const late = open(request("GET /quick"));
      await within(late.closed, 5000, "a connection after the stop");
      assert.equal(late.received, "");
      assert.equal(stopped, false);
      answer?.(new Response("slow"));
      await within(stopping, 5000, "the stop");
      await until(() => busy.received.endsWith("slow"), "its answer arrived");
    });
  });

  describe(`abort() of ${tested.adapter} on ${tested.runtime.name}`, () => {
    it("breaks what is in flight", async () => {
      const { server, client } = await inFlight(tested);
      server.abort();
      await within(client.closed, 5000, "the connection");
    });

    it("ends a stop that waits for it", async () => {
      const { server, client } = await inFlight(tested);
      const stopping = server.stop();
      server.abort();
      await within(stopping, 5000, "the stop");
      if (tested.leavesConnections) client.leave();
      await within(client.closed, 5000, "the connection");
    });
  });
}

const MALFORMED: readonly [name: string, raw: string][] = [
  [
    "a length and chunks at once",
    request("POST /a", ["Content-Length: 4", "Transfer-Encoding: chunked"], "0\r\n\r\n") +
      request("GET /smuggled"),
  ],
  [
    "two lengths",
    request("POST /a", ["Content-Length: 0", "Content-Length: 26"], request("GET /smuggled")),
  ],
  ["a list of lengths", request("POST /a", ["Content-Length: 5, 5"], "hello")],
  ["a signed length", request("POST /a", ["Content-Length: +5"], "hello")],
  ["a negative length", request("POST /a", ["Content-Length: -1"], "hello")],
  ["an unknown encoding", request("POST /a", ["Transfer-Encoding: xchunked"], "0\r\n\r\n")],
  ["a space before the colon", request("POST /a", ["Transfer-Encoding : chunked"], "0\r\n\r\n")],
  [
    "a chunk size that is none",
    request("POST /a", ["Transfer-Encoding: chunked"], "ZZ\r\nhello\r\n0\r\n\r\n"),
  ],
  [
    "a chunk size that overflows",
    request("POST /a", ["Transfer-Encoding: chunked"], "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
  ],
  ["a bare carriage return", request("GET /a", ["X: a\rb"])],
  ["a folded header", request("GET /a", ["X: a", " b"])],
  ["a NUL in a header", request("GET /a", ["X: a\0b"])],
  ["what is no request", "hello\r\n\r\n"],
];

/** A server and a client whose request is never answered. */
async function inFlight({ runtime, exposed }: AdapterCase) {
  let arrived = false;
  const options = { hostname: "127.0.0.1", port: 0, exposed };
  const server = await runtime.serve(options, (request: Request, host: Host) => {
    arrived = true;
    host.holdOpen(request);
    return new Promise<Response>(() => {});
  });
  const client = new RawClient(server.port).send(request("GET /"));
  await until(() => arrived, "the request arrived");
  return { server, client };
}

function eventStream(source: UnderlyingDefaultSource<Uint8Array>): Response {
  const headers = { "content-type": "text/event-stream" };
  return new Response(new ReadableStream(source), { headers });
}

function lateStream(): Response {
  return eventStream({
    start: (controller) => {
      controller.enqueue(bytes("early"));
      setTimeout(() => controller.enqueue(bytes("late")), SILENCE_MS);
    },
  });
}

/** More than the connection's buffers hold, then an error. */
function floodThatFails(): Response {
  let fail: ((error: Error) => void) | undefined;
  setTimeout(() => fail?.(new Error("secret")), 1000);
  return eventStream({
    start: (controller) => void (fail = (error) => controller.error(error)),
    pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024).fill(0x20)),
  });
}

async function lateAnswer(): Promise<Response> {
  await delay(SILENCE_MS);
  return new Response("late");
}

/** Time itself is what is tested where this is used: an adapter has no clock to move. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

async function within(work: Promise<unknown>, ms: number, what: string): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} is still open after ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
