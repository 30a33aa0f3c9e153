/**
 * One call or stream as the server has it under way, and what its handler sees
 * of it.
 *
 * A stream's handler sends an item when there is credit and room: credit is what
 * the reader takes, in bytes, and an item may be sent while it is above zero;
 * room is what the connection can still put in line. So a reader that does not
 * read costs its credit and one item, and no more.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { Due } from "../../storage/base/deadlines.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { CallContext, ItemSink } from "./method.ts";

/** What a stream asks of its connection. */
export interface ItemLink {
  /** Puts an item in line and returns its size. */
  sendItem(callId: number, item: unknown): number;
  /** Whether there is room in the line. */
  readonly hasRoom: boolean;
}

export class ServerCall implements CallContext, Due {
  readonly id: number;
  readonly peer: string;
  /** Bytes of its request, which are held as long as it is under way. */
  readonly size: number;
  isOver = false;
  #abort: AbortController | undefined;
  #reason: TidegateError | undefined;

  constructor(options: { readonly id: number; readonly peer: string; readonly size: number }) {
    this.id = options.id;
    this.peer = options.peer;
    this.size = options.size;
  }

  /** Made when somebody asks for it: most calls never wait. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#reason) this.#abort.abort(this.#reason);
    }
    return this.#abort.signal;
  }

  get isEnded(): boolean {
    return this.#reason !== undefined;
  }

  /** Nobody waits any longer. */
  stop(why: string): void {
    if (this.#reason || this.isOver) return;
    this.#reason = new TidegateError("outcome-unknown", `Cannot go on with the call: ${why}`);
    this.#abort?.abort(this.#reason);
  }

  onDeadline(): void {
    this.stop("its time is up");
  }
}

export class ServerStream<Item> extends ServerCall implements ItemSink<Item> {
  readonly #link: ItemLink;
  #credit = 0;
  #turn: (() => void) | undefined;

  constructor(
    options: { readonly id: number; readonly peer: string; readonly size: number },
    link: ItemLink,
  ) {
    super(options);
    this.#link = link;
  }

  async send(item: Item): Promise<void> {
    assert(!this.#turn, "items of a stream are sent one at a time");
    while (!this.isEnded && !this.#mayGo) {
      await new Promise<void>((resolve) => {
        this.#turn = resolve;
      });
    }
    this.signal.throwIfAborted();
    this.#credit -= this.#link.sendItem(this.id, item);
  }

  credit(bytes: number): void {
    this.#credit += bytes;
    this.wake();
  }

  /** There may be room again. */
  wake(): void {
    if (!this.#mayGo && !this.isEnded) return;
    const turn = this.#turn;
    this.#turn = undefined;
    turn?.();
  }

  override stop(why: string): void {
    super.stop(why);
    this.wake();
  }

  get #mayGo(): boolean {
    return this.#credit > 0 && this.#link.hasRoom;
  }
}
