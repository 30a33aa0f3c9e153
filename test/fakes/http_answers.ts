/**
 * An HTTP server that gives the answers a test wrote down, in order, and keeps
 * what it was asked. A request nobody foresaw gets 500.
 *
 * @module
 */

import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string as it is, anything else as JSON. */
  readonly body?: unknown;
}

export interface Asked {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Runs `body` against the server at `url`. */
export async function withAnswers<T>(
  answers: readonly Answer[],
  body: (server: { url: string; asked: readonly Asked[] }) => Promise<T>,
): Promise<T> {
  const left = [...answers];
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    void textOf(request).then((body) => {
      const { method = "", url = "", headers } = request;
      asked.push({ method, path: url, headers, body });
      const { status = 200, headers: more, body: content } = left.shift() ?? { status: 500 };
      const plain = content === undefined || typeof content === "string";
      response.writeHead(status, { "Content-Type": "application/json", ...more });
      response.end(plain ? content : JSON.stringify(content));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  try {
    return await body({ url: `http://127.0.0.1:${port}`, asked });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString("utf8");
}
