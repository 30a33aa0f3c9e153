/**
 * Another node, reached over one connection at a time.
 *
 *            first call, open()            handshake
 *   idle ───────────────────▶ connecting ───────────▶ open
 *                               ▲    │ failed           │ broke, goaway
 *                   rest is over│    ▼                  │
 *                             resting ◀─ lived briefly ─┤
 *                               ▲                       │
 *                  connecting ◀─┼── otherwise, at once ─┘
 *
 * A call that finds the connection being made waits for how that turns out; one
 * that finds the peer resting fails at once with `unavailable`: whoever has
 * another place to go should know soon. When a connection breaks, calls that may
 * run twice are sent again over the next one, others are `outcome-unknown`.
 * After a goaway, calls under way are answered over the old connection while new
 * ones go over a new one.
 *
 * What waits for a connection is bounded like what is under way on one.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { Deadlines } from "../../storage/base/deadlines.ts";
import { Backoff } from "./backoff.ts";
import type { Dial } from "./carrier.ts";
import {
  CALL_TIMEOUT_MS,
  type RpcOptions,
  type Subscriber,
  type SubscribeOptions,
  tooMuch,
} from "./caller.ts";
import { ClientCall, type UnderWay } from "./client_call.ts";
import { ClientConnection } from "./client_connection.ts";
import { ClientStream } from "./client_stream.ts";
import type { ConversationPorts } from "./conversation.ts";
import {
  type ClientExpectation,
  ClientHandshake,
  type Credentials,
  type HandshakePorts,
  type Identity,
} from "./handshake.ts";
import { LIMITS, type Limits } from "./limits.ts";
import type { CallMethod, StreamMethod } from "./method.ts";

export interface PeerPorts extends ConversationPorts, HandshakePorts {
  readonly dial: Dial;
  /** A try to connect came to this: `why` it failed, undefined when it did not. */
  tell?(why: string | undefined): void;
}

export interface PeerOptions {
  readonly self: Identity & Credentials;
  readonly expects: ClientExpectation;
  readonly limits?: Partial<Limits> | undefined;
}

const CREDIT_BYTES = 256 * 1024;

/** A connection that lived less is a failed try. */
const BRIEF_MS = 1000;

type State =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly connection: ClientConnection }
  | { readonly kind: "open"; readonly connection: ClientConnection; readonly since: number }
  | { readonly kind: "resting"; readonly why: string; readonly cancel: () => void }
  | { readonly kind: "closed" };

export class Peer implements Subscriber {
  readonly #ports: PeerPorts;
  readonly #clock: Clock;
  readonly #options: PeerOptions;
  readonly #limits: Limits;
  readonly #backoff: Backoff;
  readonly #deadlines: Deadlines;
  #state: State = { kind: "idle" };
  /** Those that live on after a goaway. */
  readonly #leaving = new Set<ClientConnection>();
  readonly #waiting = new Map<UnderWay, number>();
  #waitingBytes = 0;

  constructor(ports: PeerPorts, options: PeerOptions) {
    this.#ports = ports;
    this.#clock = ports.clock;
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#backoff = new Backoff((size) => ports.entropy(size));
    this.#deadlines = new Deadlines(ports.clock);
  }

  /** Whether a call would be sent at once. */
  get isOpen(): boolean {
    return this.#state.kind === "open";
  }

  /** Whether a call would fail at once: the last try to connect failed, and the next is not yet due. */
  get isResting(): boolean {
    return this.#state.kind === "resting";
  }

  /** Connects before the first call does. */
  open(): void {
    if (this.#state.kind === "idle") this.#connect();
  }

  call<Request, Response>(
    method: CallMethod<Request, Response>,
    request: NoInfer<Request>,
    { signal, timeoutMs = CALL_TIMEOUT_MS }: RpcOptions = {},
  ): Promise<Response> {
    const deadlineAt = this.#clock.elapsed() + timeoutMs;
    const call = new ClientCall(method, request, { signal, deadlineAt });
    this.#deadlines.add(deadlineAt, call);
    if (this.#state.kind === "open") this.#state.connection.start(call);
    else this.#await(call, () => call.encode());
    return call.promise;
  }

  subscribe<Request, Item>(
    method: StreamMethod<Request, Item>,
    request: NoInfer<Request>,
    { signal, creditBytes = CREDIT_BYTES }: SubscribeOptions = {},
  ): AsyncIterableIterator<Item> {
    const stream = new ClientStream(method, request, { signal, creditBytes });
    if (signal?.aborted) stream.handleEvent();
    else this.#place(stream);
    return stream;
  }

  /** Nothing can be called any more; what is under way fails. */
  close(): void {
    const state = this.#state;
    this.#state = { kind: "closed" };
    if (state.kind === "resting") state.cancel();
    if (state.kind === "connecting" || state.kind === "open") state.connection.end(CLOSED);
    for (const connection of this.#leaving) connection.end(CLOSED);
    this.#giveUp(CLOSED);
    this.#deadlines.stop();
  }

  #place(call: UnderWay): void {
    if (this.#state.kind === "open") this.#state.connection.start(call);
    else this.#await(call, () => 0);
  }

  #await(call: UnderWay, encode: () => number): void {
    this.open();
    if (this.#state.kind === "closed") return call.onUnreachable(CLOSED);
    if (this.#state.kind === "resting") return call.onUnreachable(this.#state.why);
    const { callsMax, callBytesMax } = this.#limits;
    const full = this.#waiting.size >= callsMax || this.#waitingBytes >= callBytesMax;
    if (full) return call.onFailed(tooMuch(String(call.methodId), callsMax));
    let size: number;
    try {
      size = encode();
    } catch (error) {
      return call.onFailed(error);
    }
    this.#waiting.set(call, size);
    this.#waitingBytes += size;
  }

  #connect(): void {
    const { self, expects } = this.#options;
    const handshake = new ClientHandshake(self, expects, this.#ports);
    const connection: ClientConnection = new ClientConnection(
      this.#ports,
      { handshake, limits: this.#limits },
      {
        onOpen: () => this.#onOpen(connection),
        onGoaway: () => this.#onGoaway(connection),
        onEnded: (reason, underWay) => this.#onEnded(connection, { reason, underWay }),
      },
    );
    this.#state = { kind: "connecting", connection };
    try {
      connection.begin(this.#ports.dial(connection));
    } catch (error) {
      connection.end(`cannot dial: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #onOpen(connection: ClientConnection): void {
    this.#ports.tell?.(undefined);
    this.#state = { kind: "open", connection, since: this.#clock.elapsed() };
    const waiting = [...this.#waiting.keys()];
    this.#waiting.clear();
    this.#waitingBytes = 0;
    for (const call of waiting) if (!call.isOver) connection.start(call);
  }

  #onGoaway(connection: ClientConnection): void {
    this.#leaving.add(connection);
    if (this.#isCurrent(connection)) this.#connect();
  }

  #onEnded(
    connection: ClientConnection,
    { reason, underWay }: { readonly reason: string; readonly underWay: readonly UnderWay[] },
  ): void {
    const wasOpen = this.#state.kind === "open" ? this.#state.since : undefined;
    const current = this.#isCurrent(connection);
    this.#leaving.delete(connection);
    if (current && wasOpen !== undefined && this.#clock.elapsed() - wasOpen >= BRIEF_MS) {
      this.#backoff.reset();
      this.#connect();
    } else if (current) this.#rest(reason);
    for (const call of underWay) if (!call.isOver && call.onBroken(reason)) this.#place(call);
  }

  #rest(why: string): void {
    this.#ports.tell?.(why);
    const cancel = this.#clock.after(this.#backoff.next(), () => this.#connect());
    this.#state = { kind: "resting", why, cancel };
    this.#giveUp(why);
  }

  /** Tells those that wait for a connection. */
  #giveUp(why: string): void {
    const waiting = [...this.#waiting.keys()];
    this.#waiting.clear();
    this.#waitingBytes = 0;
    for (const call of waiting) if (!call.isOver) call.onUnreachable(why);
  }

  #isCurrent(connection: ClientConnection): boolean {
    const { kind } = this.#state;
    return (kind === "connecting" || kind === "open") && this.#state.connection === connection;
  }
}

const CLOSED = "the peer was closed";
