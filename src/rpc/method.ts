/**
 * Methods as values, and the table of those a server has.
 *
 * A method is a number, a name and two codecs; client and server share the value,
 * so neither can be wrong about the other. Each room numbers its own:
 *
 *      1 … 999   BrokerApi (broker_methods.ts)
 *   1000 … 1999  between the members of a broker group
 *
 * Numbers are wire format: append new ones, never reuse one. A method whose
 * payload changes gets a new number.
 *
 * `effect` says what a client does by itself when a connection breaks under a call,
 * and what it says when no answer comes:
 *
 *   none         is called again; `unavailable`: nothing took effect, as nothing does
 *   idempotent   is called again, twice is once; `outcome-unknown`
 *   once         is not called again; `outcome-unknown`
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { Codec } from "./codec.ts";

interface MethodFacts<Request> {
  /** 1 to 65 535. */
  readonly id: number;
  readonly name: string;
  readonly about: string;
  readonly request: Codec<Request>;
}

export type Effect = "none" | "idempotent" | "once";

/** One request, one response. */
export interface CallMethod<Request, Response> extends MethodFacts<Request> {
  readonly kind: "call";
  readonly response: Codec<Response>;
  readonly effect: Effect | ((request: Request) => Effect);
}

/** One request, any number of items, an end. Never tried again by itself. */
export interface StreamMethod<Request, Item> extends MethodFacts<Request> {
  readonly kind: "stream";
  readonly item: Codec<Item>;
}

export type AnyMethod = CallMethod<never, never> | StreamMethod<never, never>;

/** What a handler knows of a call besides its request. */
export interface CallContext {
  /** Aborts when the caller gave up, its deadline passed or its connection is gone: stop waiting. */
  readonly signal: AbortSignal;
  /** The name the caller gave itself. */
  readonly peer: string;
}

export type CallHandler<Request, Response> = (
  request: Request,
  context: CallContext,
) => Promise<Response>;

/** Where a stream's handler puts its items. */
export interface ItemSink<Item> extends CallContext {
  /**
   * Sends an item when the reader has room for it, and resolves then; one at a
   * time. Rejects with the signal's reason when that aborts first.
   */
  send(item: Item): Promise<void>;
}

/** The stream ends when this resolves, or fails as it does. */
export type StreamHandler<Request, Item> = (
  request: Request,
  sink: ItemSink<Item>,
) => Promise<void>;

export type Service =
  | {
      readonly method: CallMethod<unknown, unknown>;
      readonly handler: CallHandler<unknown, unknown>;
    }
  | {
      readonly method: StreamMethod<unknown, unknown>;
      readonly handler: StreamHandler<unknown, unknown>;
    };

/** What a server can be asked for. */
export class Services {
  readonly #byId = new Map<number, Service>();

  call<Request, Response>(
    method: CallMethod<Request, Response>,
    handler: CallHandler<Request, Response>,
  ): this {
    return this.#add({ method, handler } as unknown as Service);
  }

  stream<Request, Item>(
    method: StreamMethod<Request, Item>,
    handler: StreamHandler<Request, Item>,
  ): this {
    return this.#add({ method, handler } as unknown as Service);
  }

  of(methodId: number): Service | undefined {
    return this.#byId.get(methodId);
  }

  #add(service: Service): this {
    const { id, name } = service.method;
    assert(Number.isInteger(id) && id > 0 && id <= 0xffff, `the id of ${name} fits 16 bits`);
    assert(!this.#byId.has(id), `${name} has an id of its own`);
    this.#byId.set(id, service);
    return this;
  }
}

/** Of this very request. */
export function effectOf<Request>(
  { effect }: Pick<CallMethod<Request, unknown>, "effect">,
  request: Request,
): Effect {
  return typeof effect === "string" ? effect : effect(request);
}
