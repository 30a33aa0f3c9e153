/**
 * The client's end of one connection: numbers calls, sends them, finds the call
 * an answer belongs to.
 *
 *   shaking hands ──▶ open ──goaway──▶ leaving ──last answer──▶ ended
 *                      └──────────────── broken ──────────────────┘
 *
 * When it ends, what is under way is handed back to whoever placed it: all of it
 * was sent, none of it was answered.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { ByteReader } from "./byte_reader.ts";
import type { Carrier, CarrierEvents } from "./carrier.ts";
import { tooMuch } from "./caller.ts";
import type { CallLink, UnderWay } from "./client_call.ts";
import { Conversation, type ConversationPorts } from "./conversation.ts";
import { FLAG, FRAME, type Frame, HEADER_SIZE, timeLeft } from "./frame.ts";
import type { ClientHandshake } from "./handshake.ts";
import type { Limits } from "./limits.ts";
import { ProtocolError } from "./protocol_error.ts";

export interface ClientConnectionEvents {
  onOpen(): void;
  /** The server is about to leave: nothing new will be taken. */
  onGoaway(): void;
  /** Once. */
  onEnded(reason: string, underWay: readonly UnderWay[]): void;
}

const ID_LIMIT = 0x1_0000_0000;

export class ClientConnection implements CarrierEvents {
  readonly #clock: ConversationPorts["clock"];
  readonly #limits: Limits;
  readonly #events: ClientConnectionEvents;
  readonly #conversation: Conversation;
  readonly #handshake: ClientHandshake;
  readonly #links = new Map<number, Link>();
  #nextId = 1;
  #bytes = 0;
  #leaving = false;

  constructor(
    ports: ConversationPorts,
    wish: { readonly handshake: ClientHandshake; readonly limits: Limits },
    events: ClientConnectionEvents,
  ) {
    this.#clock = ports.clock;
    this.#limits = wish.limits;
    this.#events = events;
    this.#handshake = wish.handshake;
    this.#conversation = new Conversation(ports, wish, {
      onOpen: () => events.onOpen(),
      onFrame: (frame) => this.#take(frame),
      onRoom() {},
      onEnded: (reason) => this.#handBack(reason),
    });
  }

  /** Through this, from now on. */
  begin(carrier: Carrier): void {
    this.#conversation.attach(carrier);
    const { frame, payload } = this.#handshake.begin();
    this.#conversation.send({ kind: frame }, (writer) => writer.raw(payload));
  }

  /** Whether a new call may be started. */
  get isOpen(): boolean {
    return this.#conversation.isOpen && !this.#leaving;
  }

  /** Sends a call, or fails it. */
  start(call: UnderWay): void {
    const { callsMax, callBytesMax } = this.#limits;
    const name = String(call.methodId);
    if (this.#links.size >= callsMax) return call.onFailed(tooMuch(name, callsMax));
    if (this.#bytes >= callBytesMax) return call.onFailed(tooMuch(name, callBytesMax));
    const id = this.#freeId();
    let size: number;
    try {
      size = this.#request(id, call);
    } catch (error) {
      return call.onFailed(error);
    }
    if (size === 0) return call.onUnreachable("the connection has just ended");
    call.keep(() => this.#conversation.payloadOf(size, HEADER_SIZE));
    this.#bytes += size;
    const link = new Link(this, { id, call, size });
    this.#links.set(id, link);
    call.link = link;
    if (call.isAborted) link.cancel();
  }

  /** Ends it at once, whatever is under way. */
  end(reason: string): void {
    this.#conversation.end(reason);
  }

  /** Ends it when nothing is under way any more. */
  leave(): void {
    this.#leaving = true;
    if (this.#links.size === 0) this.#conversation.finish("nothing is under way");
  }

  send(kind: typeof FRAME.cancel | typeof FRAME.credit, callId: number, value = 0): void {
    this.#conversation.send({ kind, callId, value });
  }

  /** It is over, or nobody wants to know. */
  drop({ id, size }: Link): void {
    if (!this.#links.delete(id)) return;
    this.#bytes -= size;
    if (this.#leaving) this.leave();
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

  #request(callId: number, call: UnderWay): number {
    const left = call.deadlineAt - this.#clock.elapsed();
    const head = {
      kind: FRAME.request,
      flags: call.isStream ? FLAG.stream : 0,
      methodId: call.methodId,
      callId,
      value: timeLeft(left),
    };
    return this.#conversation.send(head, (writer) => call.writeRequest(writer));
  }

  #take({ kind, flags, callId, payload }: Frame): void {
    if (kind === FRAME.goaway) {
      this.#events.onGoaway();
      return this.leave();
    }
    if (kind !== FRAME.response && kind !== FRAME.item) {
      throw new ProtocolError(`a frame of kind ${kind} from a server`);
    }
    const link = this.#links.get(callId);
    if (!link) return; // nobody wants to know any more
    if (kind === FRAME.item) return link.call.onItem(payload);
    link.call.link = undefined;
    this.#answer(link, { payload, failed: (flags & FLAG.failed) !== 0 });
    this.drop(link);
  }

  /** An answer that cannot be read is one that did not come. */
  #answer({ call }: Link, answer: { payload: ByteReader; failed: boolean }): void {
    try {
      call.onResponse(answer.payload, answer.failed);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const detail = `Cannot read the answer to a call: ${error.message}`;
      call.onFailed(new TidegateError("internal", detail, {}, error));
    }
  }

  #handBack(reason: string): void {
    const underWay = [...this.#links.values()].map(({ call }) => call);
    this.#links.clear();
    for (const call of underWay) call.link = undefined;
    this.#events.onEnded(reason, underWay);
  }

  #freeId(): number {
    do this.#nextId = (this.#nextId + 1) % ID_LIMIT;
    while (this.#nextId === 0 || this.#links.has(this.#nextId));
    return this.#nextId;
  }
}

class Link implements CallLink {
  readonly #connection: ClientConnection;
  readonly id: number;
  readonly call: UnderWay;
  readonly size: number;

  constructor(
    connection: ClientConnection,
    { id, call, size }: { readonly id: number; readonly call: UnderWay; readonly size: number },
  ) {
    this.#connection = connection;
    this.id = id;
    this.call = call;
    this.size = size;
  }

  cancel(): void {
    this.#connection.send(FRAME.cancel, this.id);
  }

  forget(): void {
    this.cancel();
    this.#connection.drop(this);
    this.call.link = undefined;
  }

  credit(bytes: number): void {
    this.#connection.send(FRAME.credit, this.id, bytes);
  }
}
