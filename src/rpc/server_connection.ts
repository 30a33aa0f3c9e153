/**
 * The server's end of one connection: finds the handler of a request, and sends
 * what it answers.
 *
 * What bounds it:
 *
 *   calls under way, bytes of their requests   one more is answered `overloaded`
 *   bytes waiting to be sent                   from `sendBytesPause` on nothing
 *                                              further is read, streams wait; at
 *                                              `sendBytesMax` the client is given up
 *
 * After a goaway it is the client that ends the connection, once it has all its answers:
 * calls that were sent before it came are still to be refused, or they would be in doubt.
 *
 * When the caller leaves, the time is up or the connection breaks, the call's
 * signal aborts: its handler stops waiting, and what it has done stays done.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { Deadlines } from "../../storage/base/deadlines.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { ByteReader } from "./byte_reader.ts";
import type { Carrier, CarrierEvents } from "./carrier.ts";
import { Conversation, type ConversationPorts } from "./conversation.ts";
import { errorCodec, tellable } from "./error_codec.ts";
import { FLAG, FRAME, type Frame } from "./frame.ts";
import type { Handshake, Refusal } from "./handshake.ts";
import type { Limits } from "./limits.ts";
import type { Service, Services } from "./method.ts";
import { ProtocolError } from "./protocol_error.ts";
import { type ItemLink, ServerCall, ServerStream } from "./server_call.ts";

export interface ServerConnectionEvents {
  onOpen(): void;
  onEnded(reason: string): void;
  /** A handler failed in a way that is no answer. */
  onFault(method: string, error: unknown): void;
}

/** For a client to end the connection after a goaway. */
const LEAVES_MS = 500;

export class ServerConnection implements CarrierEvents, ItemLink {
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #services: Services;
  readonly #events: ServerConnectionEvents;
  readonly #conversation: Conversation;
  readonly #deadlines: Deadlines;
  readonly #calls = new Map<number, ServerCall>();
  readonly #streams = new Map<number, { stream: ServerStream<unknown>; service: Service }>();
  #bytes = 0;
  #peer = "";
  #paused = false;
  #draining = false;
  #cancelLeave = () => {};

  constructor(
    ports: ConversationPorts,
    wish: { readonly handshake: Handshake; readonly limits: Limits; readonly services: Services },
    events: ServerConnectionEvents,
  ) {
    this.#clock = ports.clock;
    this.#limits = wish.limits;
    this.#services = wish.services;
    this.#events = events;
    this.#deadlines = new Deadlines(ports.clock);
    this.#conversation = new Conversation(ports, wish, {
      onOpen: (peer) => this.#open(peer),
      onFrame: (frame) => this.#take(frame),
      onRoom: () => this.#makeRoom(),
      onEnded: (reason) => this.#over(reason),
    });
  }

  /** Through this, from now on. */
  begin(carrier: Carrier): void {
    this.#conversation.attach(carrier);
  }

  get isOpen(): boolean {
    return this.#conversation.isOpen;
  }

  get callCount(): number {
    return this.#calls.size;
  }

  refuse(reason: Refusal): void {
    this.#conversation.refuse(reason);
  }

  /** Takes no new call; ends when those under way are answered. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    if (!this.#conversation.isOpen) return this.refuse("busy");
    this.#conversation.send({ kind: FRAME.goaway });
    this.#endIfDrained();
  }

  end(reason: string): void {
    this.#conversation.end(reason);
  }

  onBytes(chunk: Uint8Array): void {
    this.#conversation.receive(chunk);
  }

  onDrained(): void {
    this.#conversation.drained();
  }

  onClosed(reason: string): void {
    this.#conversation.closed(reason);
  }

  get hasRoom(): boolean {
    return !this.#paused;
  }

  sendItem(callId: number, item: unknown): number {
    const { service } = this.#streams.get(callId) ?? {};
    if (service?.method.kind !== "stream") return 0;
    const { item: codec } = service.method;
    const head = { kind: FRAME.item, callId };
    const size = this.#conversation.send(head, (writer) => codec.write(writer, item));
    this.#pauseIfFull();
    return size;
  }

  #open(peer: string): void {
    this.#peer = peer;
    this.#events.onOpen();
  }

  #take(frame: Frame): void {
    if (frame.kind === FRAME.request) return this.#begin(frame);
    if (frame.kind === FRAME.cancel) return this.#calls.get(frame.callId)?.stop("it was cancelled");
    if (frame.kind === FRAME.credit) {
      return this.#streams.get(frame.callId)?.stream.credit(frame.value);
    }
    throw new ProtocolError(`a frame of kind ${frame.kind} from a client`);
  }

  #begin({ flags, methodId, callId, value: leftMs, payload }: Frame): void {
    if (callId === 0 || this.#calls.has(callId)) throw new ProtocolError("a call's id is in use");
    const service = this.#services.of(methodId);
    const refusal = this.#refusalOf(service, { methodId, flags });
    if (refusal) return this.#fail(callId, refusal);
    const options = { id: callId, peer: this.#peer, size: payload.left };
    if (service?.method.kind === "stream") {
      const stream = new ServerStream<unknown>(options, this);
      this.#streams.set(callId, { stream, service });
      this.#register(stream, leftMs);
      void this.#runStream(stream, service as StreamService, payload);
    } else {
      const call = new ServerCall(options);
      this.#register(call, leftMs);
      void this.#run(call, service as CallService, payload);
    }
  }

  #register(call: ServerCall, leftMs: number): void {
    this.#calls.set(call.id, call);
    this.#bytes += call.size;
    if (leftMs > 0) this.#deadlines.add(this.#clock.elapsed() + leftMs, call);
  }

  #refusalOf(
    service: Service | undefined,
    { methodId, flags }: { readonly methodId: number; readonly flags: number },
  ): TidegateError | undefined {
    const isStream = (flags & FLAG.stream) !== 0;
    if (!service || (service.method.kind === "stream") !== isStream) {
      const detail = `Cannot call method ${methodId}: this node does not have it`;
      return new TidegateError("not-implemented", detail, { methodId });
    }
    if (this.#draining) return new TidegateError("draining", "Cannot take the call: shutting down");
    const { callsMax, callBytesMax } = this.#limits;
    if (this.#calls.size < callsMax && this.#bytes < callBytesMax) return undefined;
    const detail = `Cannot call "${service.method.name}": too much is under way on the connection`;
    return new TidegateError("overloaded", detail, { limit: callsMax });
  }

  async #run(call: ServerCall, { method, handler }: CallService, payload: ByteReader) {
    try {
      const request = read(method.request, payload);
      const response = await handler(request, call);
      this.#answer(call, () => {
        const head = { kind: FRAME.response, callId: call.id };
        this.#conversation.send(head, (writer) => method.response.write(writer, response));
      });
    } catch (error) {
      this.#fault(call, { method: method.name, error });
    }
  }

  async #runStream(
    stream: ServerStream<unknown>,
    { method, handler }: StreamService,
    payload: ByteReader,
  ) {
    try {
      await handler(read(method.request, payload), stream);
      const head = { kind: FRAME.response, callId: stream.id };
      this.#answer(stream, () => this.#conversation.send(head));
    } catch (error) {
      this.#fault(stream, { method: method.name, error });
    }
  }

  #fault(call: ServerCall, { method, error }: { method: string; error: unknown }): void {
    if (!(error instanceof TidegateError)) this.#events.onFault(method, error);
    this.#answer(call, () => this.#fail(call.id, error));
  }

  /** `send` may throw when the answer cannot be encoded; then the call is still under way. */
  #answer(call: ServerCall, send: () => void): void {
    if (this.#calls.get(call.id) !== call) return; // the connection ended, or it was answered
    send();
    call.isOver = true;
    this.#calls.delete(call.id);
    this.#streams.delete(call.id);
    this.#bytes -= call.size;
    this.#pauseIfFull();
    this.#endIfDrained();
  }

  #fail(callId: number, error: unknown): void {
    const head = { kind: FRAME.response, flags: FLAG.failed, callId };
    const told = tellable(error);
    try {
      this.#conversation.send(head, (writer) => errorCodec.write(writer, told));
    } catch {
      // Its details are no JSON, or more than a frame holds: the code is what counts.
      const bare = new TidegateError(told.code, told.message);
      this.#conversation.send(head, (writer) => errorCodec.write(writer, bare));
    }
  }

  #pauseIfFull(): void {
    if (this.#paused || this.#conversation.unsentBytes < this.#limits.sendBytesPause) return;
    this.#paused = true;
    this.#conversation.pause();
  }

  #makeRoom(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#conversation.resume();
    for (const { stream } of this.#streams.values()) stream.wake();
  }

  #endIfDrained(): void {
    if (!this.#draining || this.#calls.size > 0) return;
    this.#cancelLeave();
    this.#cancelLeave = this.#clock.after(LEAVES_MS, () => this.#conversation.finish("drained"));
  }

  #over(reason: string): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#streams.clear();
    this.#deadlines.stop();
    this.#cancelLeave();
    for (const call of calls) call.stop("the connection is gone");
    this.#events.onEnded(reason);
  }
}

type CallService = Extract<Service, { method: { kind: "call" } }>;
type StreamService = Extract<Service, { method: { kind: "stream" } }>;

function read<Request>(codec: { read(reader: ByteReader): Request }, payload: ByteReader): Request {
  try {
    const request = codec.read(payload);
    payload.end();
    return request;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const detail = `Cannot read the request of a call: ${error.message}`;
    throw new TidegateError("invalid-request", detail, {}, error);
  }
}
