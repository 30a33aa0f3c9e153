/**
 * One subscription as its reader sees it: an async iterator over items, which
 * come at most as fast as they are read.
 *
 *   credit     what the server may still send, in bytes of frames; it sends one while
 *              this is above zero, so the last one may exceed it
 *   read       bytes of items the reader has taken; when they are half of the
 *              whole credit, they are given back in one frame
 *
 * So at most `creditBytes` and one item wait here, whatever the server has.
 *
 * @module
 */

import type { StopSignal } from "../broker/api.ts";
import type { ByteReader } from "./byte_reader.ts";
import type { ByteWriter } from "./byte_writer.ts";
import { unavailable } from "./caller.ts";
import type { CallLink, UnderWay } from "./client_call.ts";
import { errorCodec } from "./error_codec.ts";
import { HEADER_SIZE } from "./frame.ts";
import type { StreamMethod } from "./method.ts";
import { ProtocolError } from "./protocol_error.ts";

interface Waiting<Item> {
  resolve(result: IteratorResult<Item, undefined>): void;
  reject(error: unknown): void;
}

export class ClientStream<Request, Item>
  implements UnderWay, AsyncIterableIterator<Item>, EventListenerObject
{
  readonly isStream = true;
  readonly deadlineAt = Infinity;
  isOver = false;
  readonly #method: StreamMethod<Request, Item>;
  readonly #request: Request;
  readonly #creditBytes: number;
  readonly #signal: StopSignal | undefined;
  #link: CallLink | undefined;
  readonly #items: { readonly item: Item; readonly size: number }[] = [];
  /** Granted and not used, as the server must see it. */
  #credit = 0;
  #readBytes = 0;
  #waiting: Waiting<Item> | undefined;
  #error: { readonly error: unknown } | undefined;

  constructor(
    method: StreamMethod<Request, Item>,
    request: Request,
    options: { readonly signal: StopSignal | undefined; readonly creditBytes: number },
  ) {
    this.#method = method;
    this.#request = request;
    this.#creditBytes = Math.min(options.creditBytes, 0xffff_ffff); // what a frame can say
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this);
  }

  get methodId(): number {
    return this.#method.id;
  }

  get link(): CallLink | undefined {
    return this.#link;
  }

  /** On a connection at last: the server may begin. */
  set link(link: CallLink | undefined) {
    this.#link = link;
    if (link && !this.isOver) this.#grant(this.#creditBytes);
  }

  get isAborted(): boolean {
    return this.#signal?.aborted ?? false;
  }

  writeRequest(writer: ByteWriter): void {
    this.#method.request.write(writer, this.#request);
  }

  keep(): void {}

  onResponse(payload: ByteReader, failed: boolean): void {
    if (failed) return this.onFailed(errorCodec.read(payload));
    this.#over();
    this.#answer((waiting) => waiting.resolve(DONE));
  }

  onItem(payload: ByteReader): void {
    if (this.isOver) return;
    const size = HEADER_SIZE + payload.left;
    if (this.#credit <= 0) throw new ProtocolError("an item that nobody had room for");
    this.#credit -= size;
    const item = this.#method.item.read(payload);
    payload.end();
    if (this.#waiting) {
      this.#answer((waiting) => waiting.resolve({ done: false, value: item }));
      this.#giveBack(size);
    } else this.#items.push({ item, size });
  }

  onFailed(error: unknown): void {
    if (this.isOver) return;
    this.#over();
    if (this.#waiting) this.#answer((waiting) => waiting.reject(error));
    else this.#error = { error };
  }

  onUnreachable(why: string): void {
    this.onFailed(unavailable(this.#method.name, why));
  }

  onBroken(why: string): boolean {
    this.onUnreachable(why);
    return false;
  }

  /** The reader's signal: the stream ends, without what was not read. */
  handleEvent(): void {
    this.#leave();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    const next = this.#items.shift();
    if (next) {
      this.#giveBack(next.size);
      return Promise.resolve({ done: false, value: next.item });
    }
    if (this.isOver) {
      const ended = this.#error;
      this.#error = undefined; // it is thrown once; after that the stream is simply over
      return ended ? Promise.reject(ended.error) : Promise.resolve(DONE);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<Item, undefined>> {
    this.#leave();
    return Promise.resolve(DONE);
  }

  #leave(): void {
    if (this.isOver) return;
    this.#link?.forget();
    this.#over();
    this.#items.length = 0;
    this.#answer((waiting) => waiting.resolve(DONE));
  }

  #giveBack(size: number): void {
    this.#readBytes += size;
    if (this.isOver || 2 * this.#readBytes < this.#creditBytes) return;
    this.#grant(this.#readBytes);
    this.#readBytes = 0;
  }

  #grant(bytes: number): void {
    this.#credit += bytes;
    this.#link?.credit(bytes);
  }

  #answer(how: (waiting: Waiting<Item>) => void): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) how(waiting);
  }

  #over(): void {
    this.isOver = true;
    this.#signal?.removeEventListener("abort", this);
  }
}

const DONE = { done: true, value: undefined } as const;
