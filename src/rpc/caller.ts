/**
 * Whoever can call methods of another node: over a connection (`peer.ts`) or by
 * one HTTP request each (`http_caller.ts`).
 *
 * What a call that came to nothing rejects with, besides the errors of its method:
 *
 *   unavailable      nothing took effect: the node was not reached, or no answer came
 *                    of a method that has no effect
 *   outcome-unknown  the request was sent, no answer came, and it may have run
 *   overloaded       a bound of the connection is reached; nothing was sent
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { StopSignal } from "../broker/api.ts";
import type { CallMethod, StreamMethod } from "./method.ts";

/** How long an answer may take when the caller does not say. */
export const CALL_TIMEOUT_MS = 30_000;

export interface RpcOptions {
  /** Aborting ends the wait at the server; the answer that it then gives is still awaited. */
  readonly signal?: StopSignal | undefined;
  /** Milliseconds until the answer must be there; {@linkcode CALL_TIMEOUT_MS} when absent. */
  readonly timeoutMs?: number | undefined;
}

export interface SubscribeOptions {
  readonly signal?: StopSignal | undefined;
  /** Bytes of items that may be on their way or unread; one item more at most. 256 KiB when absent. */
  readonly creditBytes?: number | undefined;
}

export interface Caller {
  call<Request, Response>(
    method: CallMethod<Request, Response>,
    request: NoInfer<Request>,
    options?: RpcOptions,
  ): Promise<Response>;
}

export interface Subscriber extends Caller {
  /**
   * Items in order, until the stream ends. Leaving the loop cancels it; it throws
   * when the stream fails or the connection breaks.
   */
  subscribe<Request, Item>(
    method: StreamMethod<Request, Item>,
    request: NoInfer<Request>,
    options?: SubscribeOptions,
  ): AsyncIterableIterator<Item>;
}

export function unavailable(what: string, why: string): TidegateError {
  return new TidegateError("unavailable", `Cannot call "${what}": ${why}`, { method: what });
}

export function outcomeUnknown(what: string, why: string): TidegateError {
  const detail = `Cannot learn the outcome of "${what}": ${why}`;
  return new TidegateError("outcome-unknown", detail, { method: what });
}

export function tooMuch(what: string, limit: number): TidegateError {
  const detail = `Cannot call "${what}": too much is under way on the connection`;
  return new TidegateError("overloaded", detail, { method: what, limit });
}
