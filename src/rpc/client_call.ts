/**
 * One call as its caller sees it: a promise, a deadline, perhaps a signal.
 *
 *   placed ──▶ sent ──▶ over   answered, timed up, broken for good
 *     ▲          │
 *     └──────────┘ the connection broke, and the call may run twice
 *
 * Its request is encoded before the call returns, so what it was made of may
 * change at once.
 *
 * @module
 */

import type { Due } from "../../storage/base/deadlines.ts";
import type { TidegateError } from "../../storage/base/errors.ts";
import type { StopSignal } from "../broker/api.ts";
import type { ByteReader } from "./byte_reader.ts";
import { ByteWriter } from "./byte_writer.ts";
import { outcomeUnknown, unavailable } from "./caller.ts";
import { errorCodec } from "./error_codec.ts";
import { type CallMethod, type Effect, effectOf } from "./method.ts";
import { ProtocolError } from "./protocol_error.ts";

/** A call or a stream on a connection, as that sees it. */
export interface UnderWay {
  readonly methodId: number;
  readonly isStream: boolean;
  /** Milliseconds on the axis of `elapsed`; Infinity without one. */
  readonly deadlineAt: number;
  /** Nobody waits for it any more. */
  readonly isOver: boolean;
  /** Its caller has given up. */
  readonly isAborted: boolean;
  /** Set while it is on a connection. */
  link: CallLink | undefined;
  writeRequest(writer: ByteWriter): void;
  /** Of a call that may be sent again: its request as it was written. */
  keep(payload: () => Uint8Array): void;
  onResponse(payload: ByteReader, failed: boolean): void;
  onItem(payload: ByteReader): void;
  /** It cannot be sent, or go on. */
  onFailed(error: unknown): void;
  /** It could not be sent, this time, as the peer was not reached. */
  onUnreachable(why: string): void;
  /** The connection broke after it was sent. Returns whether it is to be sent again. */
  onBroken(why: string): boolean;
}

/** What a call may ask of its connection. */
export interface CallLink {
  /** The server shall end it; an answer still comes. */
  cancel(): void;
  /** The same, and no answer is wanted. */
  forget(): void;
  /** More bytes of items may be sent. */
  credit(bytes: number): void;
}

/** A call is sent so many times at most. */
const TRIES_MAX = 3;

export class ClientCall<Request, Response> implements UnderWay, Due, EventListenerObject {
  readonly promise: Promise<Response>;
  readonly isStream = false;
  readonly deadlineAt: number;
  link: CallLink | undefined;
  isOver = false;
  readonly #method: CallMethod<Request, Response>;
  readonly #signal: StopSignal | undefined;
  readonly #effect: Effect;
  #request: Request | undefined;
  #payload: Uint8Array | undefined;
  #tries = 0;
  #resolve!: (response: Response) => void;
  #reject!: (error: unknown) => void;

  constructor(
    method: CallMethod<Request, Response>,
    request: Request,
    options: { readonly signal: StopSignal | undefined; readonly deadlineAt: number },
  ) {
    this.#method = method;
    this.#request = request;
    this.#signal = options.signal;
    this.deadlineAt = options.deadlineAt;
    this.#effect = effectOf(method, request);
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#signal?.addEventListener("abort", this);
  }

  get methodId(): number {
    return this.#method.id;
  }

  get isAborted(): boolean {
    return this.#signal?.aborted ?? false;
  }

  /** Encodes the request of a call that must wait for a connection. @returns its size. */
  encode(): number {
    const writer = new ByteWriter();
    this.writeRequest(writer);
    this.#payload = writer.take();
    return this.#payload.length;
  }

  writeRequest(writer: ByteWriter): void {
    if (this.#payload) writer.raw(this.#payload);
    else this.#method.request.write(writer, this.#request as Request);
  }

  keep(payload: () => Uint8Array): void {
    this.#tries++;
    this.#request = undefined;
    const again = this.#effect !== "once" && this.#tries < TRIES_MAX;
    this.#payload = again ? payload() : undefined;
  }

  onResponse(payload: ByteReader, failed: boolean): void {
    if (failed) return this.onFailed(errorCodec.read(payload));
    const response = this.#method.response.read(payload);
    payload.end();
    this.#over();
    this.#resolve(response);
  }

  onItem(): void {
    throw new ProtocolError("an item of a call that is no stream");
  }

  onFailed(error: unknown): void {
    this.#over();
    this.#reject(error);
  }

  onUnreachable(why: string): void {
    this.onFailed(this.#lost(why));
  }

  onBroken(why: string): boolean {
    if (this.#payload && !this.isAborted) return true;
    this.onFailed(this.#lost(why));
    return false;
  }

  onDeadline(): void {
    this.link?.forget();
    this.onFailed(this.#lost("the time is up"));
  }

  handleEvent(): void {
    this.link?.cancel();
  }

  /** What a call without an answer is told: whether it may have taken effect. */
  #lost(why: string): TidegateError {
    const { name } = this.#method;
    const nothingDone = this.#tries === 0 || this.#effect === "none";
    return nothingDone ? unavailable(name, why) : outcomeUnknown(name, why);
  }

  #over(): void {
    this.isOver = true;
    this.#payload = undefined;
    this.#signal?.removeEventListener("abort", this);
  }
}
