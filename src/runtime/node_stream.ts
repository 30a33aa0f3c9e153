/**
 * Sending an event stream through `node:http`, at the pace of its reader.
 *
 * The stream may end in three ways and each has its own: it closes (the answer
 * is complete), it fails (the connection breaks, and nothing of the error goes
 * out), or the reader leaves (the stream is cancelled).
 *
 * Why not leave it to the package that makes the `Request`: that prints every
 * failed stream to the console and holds the first bytes back for a moment, to
 * see whether the answer is a short one.
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";

export function isEventStream(response: Response): boolean {
  return response.headers.get("content-type") === "text/event-stream" && response.body !== null;
}

/** @returns what tells the package that the answer is under way already. */
export function sendStream(response: Response, outgoing: ServerResponse): Response {
  const body = response.body?.getReader();
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.flushHeaders();
  if (body) void pump(body, outgoing);
  else outgoing.end();
  return RESPONSE_ALREADY_SENT;
}

async function pump(
  body: ReadableStreamDefaultReader<Uint8Array>,
  outgoing: ServerResponse,
): Promise<void> {
  const leave = () => void body.cancel().catch(() => {}); // it failed already: nothing is left to stop
  outgoing.once("close", leave);
  // Told at once, also while the reader takes nothing and nothing is asked of the stream.
  body.closed.catch(() => outgoing.destroy());
  try {
    for (;;) {
      const { done, value } = await body.read();
      if (done) break;
      if (!outgoing.write(value)) await drained(outgoing);
    }
    outgoing.end();
  } catch {
    outgoing.destroy(); // whoever made the stream fail knows why
  }
}

/** Resolves when there is room again, or nobody to have room for. */
function drained(outgoing: ServerResponse): Promise<void> {
  if (outgoing.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off("drain", done);
      outgoing.off("close", done);
      resolve();
    };
    outgoing.on("drain", done);
    outgoing.on("close", done);
  });
}
