/**
 * One reader's end of a stream: a `ReadableStream` that takes shared chunks,
 * and the bound on what may wait in it.
 *
 *            end(reason)          drained, or its time is up
 *   open ─────────────────▶ closing ─────────────────▶ ended
 *     └───────────────────────────────────────────────▶
 *         cancelled, aborted, stalled: what waits is dropped
 *
 * Promises: at most {@linkcode BACKLOG_BYTES} wait here, or one chunk; a
 * reader that takes nothing while something waits is cut off after
 * {@linkcode STALLED_BEATS} beats. Chunks are shared between readers and never
 * copied; the stream is not a byte stream because those take the buffer away.
 *
 * Thousands of these exist at once and do nothing, so the object is its own
 * stream source and its own abort listener, and owns no timer and no closure.
 *
 * @module
 */

import type { FeedReader, Followed } from "./feed_reader.ts";
import {
  type Control,
  encodeControl,
  encodeGap,
  encodeReconnect,
  type EventChunk,
  type Gap,
  HEARTBEAT,
  type ReconnectReason,
} from "./sse.ts";

export const BACKLOG_BYTES = 256 * 1024;

/** Beats of eight seconds: 32 s without taking a byte. */
export const STALLED_BEATS = 4;

/**
 * The backlog is counted here, not by the stream: Bun sets a buffer aside for each as large as it says
 * it can hold, and touches a page of it: 4 KiB a reader.
 */
const QUEUE_MARK = 1;
const QUEUE = new ByteLengthQueuingStrategy({ highWaterMark: QUEUE_MARK });

/** Who is told when a subscriber is gone. */
export interface SubscriberOwner {
  retryMs(reason?: ReconnectReason): number;
  ended(subscriber: Subscriber): void;
}

export class Subscriber
  implements FeedReader, UnderlyingDefaultSource<Uint8Array>, EventListenerObject
{
  readonly stream: ReadableStream<Uint8Array>;
  /** Which of the heart's slots beats for it. */
  slot = 0;
  readonly #owner: SubscriberOwner;
  readonly #signal: AbortSignal;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #state: "open" | "closing" | "ended" = "open";
  #followed: Followed | undefined;
  /** The last position the reader was given. */
  #told = "";
  #pushedBytes = 0;
  /** What the reader had taken at the last beat, to notice when it takes no more. */
  #takenBytes = 0;
  #stalledBeats = 0;
  #wake: (() => void) | undefined;

  constructor(owner: SubscriberOwner, signal: AbortSignal) {
    this.#owner = owner;
    this.#signal = signal;
    this.stream = new ReadableStream<Uint8Array>(this, QUEUE);
    signal.addEventListener("abort", this);
  }

  get open(): boolean {
    return this.#state === "open";
  }

  get crowded(): boolean {
    return this.waitingBytes > BACKLOG_BYTES / 2;
  }

  /** Queued and not taken yet. */
  get waitingBytes(): number {
    return QUEUE_MARK - (this.#controller?.desiredSize ?? QUEUE_MARK);
  }

  /** Given to the stream so far. */
  get pushedBytes(): number {
    return this.#pushedBytes;
  }

  follow(followed: Followed): void {
    this.#followed = followed;
  }

  messages({ bytes, last }: EventChunk): void {
    this.send([bytes], last);
  }

  gap(gap: Gap): void {
    this.send([encodeGap(gap)], gap.earliest);
  }

  control(control: Control): void {
    this.send([encodeControl(control)], control.cursor);
  }

  /**
   * Queues all of `chunks`, after which the reader stands at `position`, or none:
   * a reader too slow to have room for them is told to reconnect, and the stream
   * ends.
   *
   * @returns whether they were queued.
   */
  send(chunks: readonly Uint8Array[], position: string): boolean {
    if (this.#state !== "open") return false;
    let size = 0;
    for (const chunk of chunks) size += chunk.length;
    if (!this.#fits(size)) {
      this.end("slow-reader");
      return false;
    }
    for (const chunk of chunks) if (!this.#push(chunk)) return false;
    this.#told = position;
    return true;
  }

  async room(size: number): Promise<boolean> {
    while (this.#state === "open" && !this.#fits(size)) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#state === "open";
  }

  end(reason?: ReconnectReason): void {
    if (this.#state !== "open") return;
    if (reason && !this.#push(encodeReconnect(reason, this.#owner.retryMs(reason)))) return;
    this.#state = "closing";
    this.#stalledBeats = 0;
    this.#detach();
    this.#controller?.close();
  }

  /** Called every eight seconds: heartbeat, control, and the watch over the reader. */
  beat(): void {
    if (this.#state === "closing" || this.#stalled()) {
      if (++this.#stalledBeats >= STALLED_BEATS) this.#cutOff();
      return;
    }
    this.#stalledBeats = 0;
    const followed = this.#followed;
    if (followed === undefined || followed.cursor === this.#told) this.#push(HEARTBEAT);
    else if (this.#push(followed.control())) this.#told = followed.cursor;
  }

  // What the stream calls.

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller;
  }

  pull(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  cancel(): void {
    this.#drop();
  }

  /** The request's signal: the reader is gone, and the runtime takes the stream down. */
  handleEvent(): void {
    if (this.#state === "open") this.#controller?.close();
    this.#drop();
  }

  #stalled(): boolean {
    const waiting = this.waitingBytes;
    const taken = this.#pushedBytes - waiting;
    const moved = taken !== this.#takenBytes;
    this.#takenBytes = taken;
    return waiting > 0 && !moved;
  }

  #fits(size: number): boolean {
    const waiting = this.waitingBytes;
    return waiting === 0 || waiting + size <= BACKLOG_BYTES;
  }

  #push(bytes: Uint8Array): boolean {
    try {
      this.#controller?.enqueue(bytes);
    } catch {
      // The stream is closed or errored already and nobody told us: the reader is gone.
      this.#drop();
      return false;
    }
    this.#pushedBytes += bytes.length;
    return true;
  }

  /** Breaks the connection and frees what waited for it. */
  #cutOff(): void {
    this.#controller?.error(new Error("The reader of this stream takes nothing"));
    this.#drop();
  }

  #drop(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#detach();
    this.#owner.ended(this);
  }

  #detach(): void {
    this.#signal.removeEventListener("abort", this);
    this.#followed?.leave(this);
    this.#followed = undefined;
    this.pull();
  }
}
