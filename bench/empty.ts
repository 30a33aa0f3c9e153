/**
 * What everything is measured against: a Hono app that does nothing, on the
 * runtime's own server, with no adapter of ours in between. It reads what it
 * is sent, keeps nothing and answers as much as the real one would.
 *
 *   POST /sink             reads the body, 201 and a small JSON
 *   GET|POST /fixed/:size  reads the body, 200 and `size` bytes
 *   GET  /stream           an event stream that stays open
 *   POST /publish          sends the body to every open stream, as one chunk
 *   GET  /hold/:seconds    204 after that long
 *
 * `bun bench/empty.ts` prints its port.
 *
 * @module
 */

import { Hono } from "hono";

type Fetch = (request: Request, env: unknown) => Response | Promise<Response>;

/** Of `Bun`, what is used here; its types would leak into the whole program. */
interface BunServe {
  serve(options: { port: number; hostname: string; idleTimeout: number; fetch: Fetch }): {
    readonly port: number;
  };
}

interface DenoServe {
  serve(
    options: { port: number; hostname: string; onListen: (at: { port: number }) => void },
    fetch: (request: Request) => Response | Promise<Response>,
  ): unknown;
}

const SMALL = JSON.stringify({ id: "V1StGXR8_Z5jdHi6B", queueId: 3, queueOffset: "1234" });
const JSON_TYPE = { "Content-Type": "application/json" };

const app = new Hono();
const streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
const fixed = new Map<number, Uint8Array<ArrayBuffer>>();

app.post("/sink", async (c) => {
  await c.req.arrayBuffer();
  return c.body(SMALL, 201, JSON_TYPE);
});

app.on(["GET", "POST"], "/fixed/:size", async (c) => {
  if (c.req.method === "POST") await c.req.arrayBuffer();
  const size = Number(c.req.param("size"));
  const body = fixed.get(size) ?? new Uint8Array(size).fill(0x78);
  fixed.set(size, body);
  return c.body(body, 200, JSON_TYPE);
});

app.get("/stream", (c) => {
  let own: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      own = controller;
      streams.add(controller);
      controller.enqueue(new TextEncoder().encode("retry: 2000\n\n"));
    },
    cancel: () => void streams.delete(own),
  });
  return c.body(body, 200, { "Content-Type": "text/event-stream" });
});

app.post("/publish", async (c) => {
  const chunk = new Uint8Array(await c.req.arrayBuffer());
  for (const stream of streams) stream.enqueue(chunk);
  return c.body(SMALL, 201, JSON_TYPE);
});

app.get("/hold/:seconds", async (c) => {
  const ms = Number(c.req.param("seconds")) * 1000;
  await new Promise((resolve) => setTimeout(resolve, ms));
  return c.body(null, 204);
});

const hostname = "127.0.0.1";
const world = globalThis as { Bun?: BunServe; Deno?: DenoServe };
const tell = ({ port }: { port: number }) => console.log(`empty ready on ${port}`);
if (world.Bun) tell(world.Bun.serve({ port: 0, hostname, idleTimeout: 0, fetch: app.fetch }));
else world.Deno?.serve({ port: 0, hostname, onListen: tell }, (request) => app.fetch(request));
