/**
 * Reads HTTP/1.1 responses out of a stream of bytes (RFC 9112 §6): with a
 * length, chunked, without a body, or up to the end of the connection.
 *
 *            head complete          body complete
 *   idle ─▶ head ──────────▶ body ───────────────▶ idle
 *
 * No I/O. Bodies are handed on as views of the bytes pushed in.
 *
 * @module
 */

import { unreachable } from "../../storage/base/assert.ts";

export interface Head {
  readonly status: number;
  /** By lower-case name; repeated headers are joined with ", ". */
  readonly headers: ReadonlyMap<string, string>;
}

export interface ResponseEvents {
  onHead(head: Head): void;
  onBody(chunk: Uint8Array): void;
  onEnd(head: Head): void;
}

type State =
  | { readonly kind: "head" }
  | { readonly kind: "length"; readonly head: Head; left: number }
  | { readonly kind: "until-close"; readonly head: Head }
  | { readonly kind: "chunk-size"; readonly head: Head }
  | { readonly kind: "chunk"; readonly head: Head; left: number }
  | { readonly kind: "trailer"; readonly head: Head };

const EMPTY = Buffer.alloc(0);

export class ResponseReader {
  readonly #events: ResponseEvents;
  #state: State = { kind: "head" };
  #rest: Buffer = EMPTY;
  #method = "GET";

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** The method decides whether the next response has a body. */
  expect(method: string): void {
    this.#method = method;
  }

  push(bytes: Uint8Array): void {
    const more = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rest = this.#rest.length === 0 ? more : Buffer.concat([this.#rest, more]);
    while (this.#step()) {
      // Each step consumes what one state can.
    }
  }

  /** The connection ended: that completes a body without a length, and no other. */
  closed(): void {
    if (this.#state.kind === "until-close") this.#end(this.#state.head);
  }

  #step(): boolean {
    const state = this.#state;
    switch (state.kind) {
      case "head":
        return this.#readHead();
      case "length":
        return this.#readBody(state, () => this.#end(state.head));
      case "chunk":
        return this.#readBody(state, () => {
          this.#state = { kind: "chunk-size", head: state.head };
        });
      case "chunk-size":
        return this.#readChunkSize(state.head);
      case "trailer":
        return this.#readTrailer(state.head);
      case "until-close":
        if (this.#rest.length > 0) this.#events.onBody(this.#take(this.#rest.length));
        return false;
      default:
        return unreachable(state);
    }
  }

  #readHead(): boolean {
    const end = this.#rest.indexOf("\r\n\r\n");
    if (end < 0) return false;
    const head = parseHead(this.#take(end + 4).toString("latin1"));
    if (head.status < 200) return true; // 100 Continue: the real one follows
    this.#events.onHead(head);
    const length = head.headers.get("content-length");
    const bodiless = this.#method === "HEAD" || head.status === 204 || head.status === 304;
    if (bodiless || length === "0") this.#end(head);
    else if (head.headers.get("transfer-encoding")?.includes("chunked")) {
      this.#state = { kind: "chunk-size", head };
    } else if (length !== undefined) this.#state = { kind: "length", head, left: Number(length) };
    else this.#state = { kind: "until-close", head };
    return this.#rest.length > 0;
  }

  #readBody(state: { left: number }, whenDone: () => void): boolean {
    if (this.#rest.length === 0) return false;
    const chunk = this.#take(Math.min(state.left, this.#rest.length));
    state.left -= chunk.length;
    this.#events.onBody(chunk);
    if (state.left === 0) whenDone();
    return this.#rest.length > 0;
  }

  #readChunkSize(head: Head): boolean {
    // The CRLF that ends the chunk before is still there.
    const from = this.#rest[0] === 0x0d ? 2 : 0;
    const end = this.#rest.indexOf("\r\n", from);
    if (end < 0) return false;
    const line = this.#take(end + 2).toString("latin1", from, end);
    const size = Number.parseInt(line, 16);
    if (!(size >= 0)) throw new Error(`Cannot read the chunk size "${line}"`);
    this.#state = size > 0 ? { kind: "chunk", head, left: size } : { kind: "trailer", head };
    return this.#rest.length > 0;
  }

  #readTrailer(head: Head): boolean {
    const end = this.#rest.indexOf("\r\n");
    if (end < 0) return false;
    this.#take(end + 2);
    if (end === 0) this.#end(head);
    return this.#rest.length > 0;
  }

  #end(head: Head): void {
    this.#state = { kind: "head" };
    this.#events.onEnd(head);
  }

  #take(size: number): Buffer {
    const taken = this.#rest.subarray(0, size);
    this.#rest = size === this.#rest.length ? EMPTY : this.#rest.subarray(size);
    return taken;
  }
}

function parseHead(head: string): Head {
  const [statusLine, ...lines] = head.trimEnd().split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(statusLine ?? "")?.[1];
  if (status === undefined) throw new Error(`Cannot read the status line "${statusLine}"`);
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return { status: Number(status), headers };
}
