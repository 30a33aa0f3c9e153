/**
 * Reading request bodies, bounded in size and time.
 *
 * A declared length is judged before a byte is read, and a body that comes
 * without one is counted as it arrives, so no request costs more memory than
 * its operation takes. Time is bounded on our side because one of the servers
 * we run on has no such bound. Compressed bodies are refused: nothing here
 * inflates, and storing them as if they were plain would mislead readers.
 *
 * @module
 */

import type { Call } from "../../routes/call.ts";
import type { Bodies, BodyLimit } from "../../routes/ports.ts";
import { malformed } from "../../routes/problem.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Deadlines } from "./deadlines.ts";

const EMPTY = new Uint8Array(0);

export class BoundedBodies implements Bodies {
  readonly #deadlines: Deadlines;

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  read(request: Request, about: { call: Call; limit: BodyLimit }): Promise<Uint8Array> {
    const { call, limit } = about;
    const { contentEncoding, contentLength } = call.head;
    if (contentEncoding !== undefined && contentEncoding.toLowerCase() !== "identity") {
      throw new TidegateError(
        "unsupported-media-type",
        `Cannot read a body with Content-Encoding "${contentEncoding}": send it as it is`,
      );
    }
    if (contentLength === undefined) return this.#readCounted(request, limit);
    if (!/^\d{1,15}$/.test(contentLength)) {
      throw malformed("/header/Content-Length", "Content-Length must be a number of bytes");
    }
    if (Number(contentLength) > limit.bytes) throw tooLarge(limit);
    return this.#readDeclared(request, limit);
  }

  /** The fast way: the server sees to it that no more arrives than was declared. */
  #readDeclared(request: Request, limit: BodyLimit): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const deadline = this.#deadlines.begin(() => reject(tooSlow()));
      request.bytes().then(
        (bytes) => {
          this.#deadlines.end(deadline);
          if (bytes.length > limit.bytes) reject(tooLarge(limit));
          else resolve(bytes);
        },
        (cause: unknown) => {
          this.#deadlines.end(deadline);
          reject(cutShort(cause));
        },
      );
    });
  }

  async #readCounted(request: Request, limit: BodyLimit): Promise<Uint8Array> {
    if (request.body === null) return EMPTY;
    const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
    let late = false;
    const deadline = this.#deadlines.begin(() => {
      late = true;
      stop(reader);
    });
    try {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (late) throw tooSlow();
        if (done) return joined(chunks, size);
        size += value.length;
        if (size > limit.bytes) {
          stop(reader);
          throw tooLarge(limit);
        }
        chunks.push(value);
      }
    } catch (error) {
      if (error instanceof TidegateError) throw error;
      throw late ? tooSlow() : cutShort(error);
    } finally {
      this.#deadlines.end(deadline);
    }
  }
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) return only;
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

/** Tells the sender to stop; what becomes of that is of no consequence here. */
function stop(reader: ReadableStreamDefaultReader<Uint8Array>): void {
  reader.cancel().catch(() => {});
}

function tooLarge(limit: BodyLimit): TidegateError {
  const what = limit.code === "message-too-large" ? "message" : "body";
  return new TidegateError(
    limit.code,
    `Cannot take the ${what}: the limit is ${limit.bytes} bytes`,
    {
      limit: limit.bytes,
    },
  );
}

function tooSlow(): TidegateError {
  return new TidegateError("request-timeout", "Cannot read the body: it did not arrive in time");
}

function cutShort(cause: unknown): TidegateError {
  return new TidegateError(
    "invalid-request",
    "Cannot read the body: it ended before it was complete",
    { errors: [{ pointer: "/body", detail: "the body is incomplete" }] },
    cause,
  );
}
