/**
 * One HTTP/1.1 connection over `node:net`, for tests that must know exactly
 * what went over the wire.
 *
 * Not `fetch`: a client that sends a request again on its own when a
 * keep-alive connection breaks (Bun's does) turns one publish into two, and
 * the server would be blamed. Here a request is sent once; when the connection
 * breaks before the answer is complete, the outcome is unknown and the request
 * rejects with {@linkcode ConnectionLost}. Requests are answered in order; a
 * second one waits for the first.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { type Head, ResponseReader } from "./response_reader.ts";

export interface HttpRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** The request fails with a `ConnectionLost` when there is no full answer by then. */
  readonly timeoutMs?: number;
  /** The status and headers have arrived. */
  readonly onHead?: (head: Head) => void;
  /** Takes the body as it arrives; the answer's `body` stays empty. */
  readonly onBody?: (chunk: Uint8Array) => void;
}

export interface HttpAnswer extends Head {
  readonly body: Uint8Array;
}

export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  /** There was no answer in time, although the connection was up. */
  readonly timedOut: boolean;

  constructor(message: string, timedOut = false) {
    super(message);
    this.timedOut = timedOut;
  }
}

const TIMEOUT_MS = 90_000;

interface Pending {
  readonly request: HttpRequest;
  readonly chunks: Uint8Array[];
  readonly resolve: (answer: HttpAnswer) => void;
  readonly reject: (error: Error) => void;
  timer?: ReturnType<typeof setTimeout>;
}

export class Connection {
  readonly #socket: Socket;
  readonly #queue: Pending[] = [];
  readonly #reader: ResponseReader;
  #lost: ConnectionLost | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#reader = new ResponseReader({
      onHead: (head) => this.#queue[0]?.request.onHead?.(head),
      onBody: (chunk) => {
        const pending = this.#queue[0];
        if (pending?.request.onBody) pending.request.onBody(chunk);
        else pending?.chunks.push(chunk);
      },
      onEnd: (head) => this.#answered(head),
    });
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.#receive(bytes as Uint8Array));
    socket.on("error", (error) => this.#lose(new ConnectionLost(error.message)));
    socket.on("close", () => {
      this.#reader.closed();
      this.#lose(new ConnectionLost("The connection was closed"));
    });
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port });
      const refuse = (error: Error) => {
        socket.destroy();
        reject(new ConnectionLost(error.message));
      };
      socket.once("error", refuse);
      socket.once("connect", () => {
        socket.off("error", refuse);
        resolve(new Connection(socket));
      });
    });
  }

  get open(): boolean {
    return this.#lost === undefined;
  }

  request(request: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#lost) {
        reject(this.#lost);
        return;
      }
      this.#queue.push({ request, chunks: [], resolve, reject });
      if (this.#queue.length === 1) this.#send();
    });
  }

  close(): void {
    this.#socket.destroy();
    this.#lose(new ConnectionLost("The connection was closed by the test"));
  }

  /** Stops reading: what the server sends stays in the kernel's buffers, then in the server's. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  #send(): void {
    const pending = this.#queue[0];
    if (!pending) return;
    const { request } = pending;
    const timeoutMs = request.timeoutMs ?? TIMEOUT_MS;
    pending.timer = setTimeout(() => {
      const late = `No answer to ${request.method ?? "GET"} ${request.path} in ${timeoutMs} ms`;
      this.#lose(new ConnectionLost(late, true));
      this.#socket.destroy();
    }, timeoutMs);
    this.#reader.expect(request.method ?? "GET");
    this.#socket.write(encodeRequest(request));
  }

  #receive(bytes: Uint8Array): void {
    try {
      this.#reader.push(bytes);
    } catch (error) {
      this.#lose(new ConnectionLost(`Not HTTP: ${String(error)}`));
      this.#socket.destroy();
    }
  }

  #answered(head: Head): void {
    const pending = this.#queue.shift();
    if (!pending) return;
    clearTimeout(pending.timer);
    pending.resolve({ ...head, body: Buffer.concat(pending.chunks) });
    this.#send();
  }

  #lose(error: ConnectionLost): void {
    if (this.#lost) return;
    this.#lost = error;
    for (const pending of this.#queue.splice(0)) {
      clearTimeout(pending.timer);
      pending.reject(error);
    }
  }
}

/** The bytes of a request, head and body in one write. */
export function encodeRequest(request: HttpRequest): Uint8Array {
  const body = typeof request.body === "string" ? Buffer.from(request.body) : request.body;
  const lines = [`${request.method ?? "GET"} ${request.path} HTTP/1.1`, "Host: 127.0.0.1"];
  for (const [name, value] of Object.entries(request.headers ?? {}))
    lines.push(`${name}: ${value}`);
  if (body || request.method === "POST" || request.method === "PUT") {
    lines.push(`Content-Length: ${body?.length ?? 0}`);
  }
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
  return body ? Buffer.concat([head, body]) : head;
}

/** One request on a connection of its own. */
export async function request(port: number, request: HttpRequest): Promise<HttpAnswer> {
  const connection = await Connection.open(port);
  try {
    return await connection.request(request);
  } finally {
    connection.close();
  }
}

export function text(answer: HttpAnswer): string {
  return Buffer.from(answer.body).toString("utf8");
}

/** The body as JSON; the caller casts it to the shape the contract promises. */
export function json(answer: HttpAnswer): unknown {
  return JSON.parse(text(answer));
}
