/**
 * One connection, from its first byte to its last: what client and server have
 * in common.
 *
 *   shaking hands ──▶ open ──▶ ended
 *        │              │        ▲
 *        └─ time up, ───┴────────┘ closed by either side, garbage, silence
 *           refused
 *
 * Frames of a turn are sent together. Where nothing was sent, or nothing received,
 * for `pingMs`, a ping is; so each end hears of the other, also when it has much to
 * hear and nothing to say. A peer that stays silent for `silenceMs`, or takes not a
 * byte for as long, is given up: one that was cut off without a word is noticed,
 * and one that is merely slow is left in peace.
 *
 * Deterministic: time is the clock it is given, bytes come and go through the
 * carrier.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { Crc32 } from "../../storage/base/checksum.ts";
import type { Clock } from "../../storage/base/clock.ts";
import { ByteWriter } from "./byte_writer.ts";
import type { Carrier } from "./carrier.ts";
import { FRAME, type Frame, type FrameHead, writeFrame } from "./frame.ts";
import { FrameDecoder } from "./frame_decoder.ts";
import { encodeRefusal, type Handshake, type HandshakeStep } from "./handshake.ts";
import type { Limits } from "./limits.ts";
import { ProtocolError } from "./protocol_error.ts";

export interface ConversationPorts {
  readonly clock: Clock;
  readonly crc32: Crc32;
}

export interface ConversationEvents {
  /** Both know each other; frames may be sent from now on. */
  onOpen(peer: string): void;
  onFrame(frame: Frame): void;
  /** The carrier has taken all there was, and wants more. */
  onRoom(): void;
  /** Once. Nothing follows. */
  onEnded(reason: string): void;
}

/**
 * Frames of a turn are sent when it ends, or when they are so many bytes; and so
 * many at once, for a carrier tells only of whole pieces how far it has come.
 */
const BATCH_BYTES = 256 * 1024;

const UNREAD = "the peer does not read what it is sent";

export class Conversation {
  readonly #ports: ConversationPorts;
  readonly #limits: Limits;
  readonly #events: ConversationEvents;
  readonly #handshake: Handshake;
  readonly #decoder: FrameDecoder;
  readonly #writer = new ByteWriter();
  #carrier: Carrier | undefined;
  #state: "shaking" | "open" | "ended" = "shaking";
  #flushing = false;
  #cancelTimer: () => void;
  #heard = true;
  #spoke = true;
  /** Somebody here does not want to hear more for now. */
  #paused = false;
  /** Bytes given to the carrier, ever; and how many had left when it was looked at last. */
  #sentBytes = 0;
  #leftBytes = 0;
  /** How often in a row the peer was found silent, and found to take nothing. */
  #silences = 0;
  #blockades = 0;

  constructor(
    ports: ConversationPorts,
    { handshake, limits }: { readonly handshake: Handshake; readonly limits: Limits },
    events: ConversationEvents,
  ) {
    this.#ports = ports;
    this.#limits = limits;
    this.#events = events;
    this.#handshake = handshake;
    this.#decoder = new FrameDecoder({ crc32: ports.crc32, sizeMax: limits.helloBytesMax });
    this.#cancelTimer = ports.clock.after(limits.handshakeMs, () =>
      this.end("no handshake in time"),
    );
  }

  /** The pipe to speak through, from the first call on. */
  attach(carrier: Carrier): void {
    this.#carrier = carrier;
    if (this.#state === "ended") carrier.destroy();
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Bytes that are to be sent and did not leave yet. */
  get unsentBytes(): number {
    return this.#writer.pending + (this.#carrier?.queuedBytes ?? 0);
  }

  /** What `send` wrote last, from its payload on; a view nobody writes to any more. */
  payloadOf(frameSize: number, headerSize: number): Uint8Array {
    return this.#writer.since(this.#writer.pending - frameSize + headerSize);
  }

  /**
   * Writes a frame, which leaves at the end of this turn.
   *
   * @returns its size; 0 when the connection has ended. @throws what `write` throws; then nothing was written.
   */
  send(head: FrameHead, write?: (writer: ByteWriter) => void): number {
    if (this.#writer.pending > BATCH_BYTES) this.#flush();
    if (this.#state === "ended") return 0;
    const { crc32, clock } = this.#ports;
    const size = writeFrame(this.#writer, head, write ? { crc32, write } : { crc32 });
    this.#spoke = true;
    if (this.#flushing) return size;
    this.#flushing = true;
    clock.defer(() => this.#flush());
    return size;
  }

  receive(chunk: Uint8Array): void {
    if (this.#state === "ended") return;
    this.#heard = true;
    try {
      this.#decoder.push(chunk, (frame) => this.#take(frame));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.end(`not the protocol: ${error.message}`);
    }
  }

  drained(): void {
    if (this.#state === "open") this.#events.onRoom();
  }

  pause(): void {
    this.#paused = true;
    this.#carrier?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#heard = true;
    this.#carrier?.resume();
  }

  /** Ends it once what was sent has left, or could not leave for a while. */
  finish(reason: string): void {
    if (this.#state === "ended") return;
    this.#flush();
    this.#over(reason);
    this.#carrier?.end();
    const giveUp = () => this.#carrier?.destroy();
    this.#cancelTimer = this.#ports.clock.after(this.#limits.handshakeMs, giveUp);
  }

  /** Ends it at once. */
  end(reason: string): void {
    if (this.#state === "ended") return;
    this.#over(reason);
    this.#carrier?.destroy();
  }

  /** The carrier is gone. */
  closed(reason: string): void {
    if (this.#state === "ended") this.#cancelTimer();
    else this.#over(reason);
  }

  #over(reason: string): void {
    this.#state = "ended";
    this.#cancelTimer();
    this.#decoder.stop();
    this.#events.onEnded(reason);
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#state === "ended" || this.#writer.pending === 0) return;
    assert(this.#carrier, "a conversation has a carrier");
    const bytes = this.#writer.take();
    this.#sentBytes += bytes.length;
    let hasRoom = true;
    for (let at = 0; at < bytes.length; at += BATCH_BYTES) {
      hasRoom = this.#carrier.write(bytes.subarray(at, at + BATCH_BYTES));
    }
    if (hasRoom) this.#events.onRoom();
    else if (this.#carrier.queuedBytes > this.#limits.sendBytesMax) this.end(UNREAD);
  }

  #take(frame: Frame): void {
    if (this.#state === "shaking") return this.#shake(this.#handshake.step(frame));
    if (frame.kind < FRAME.request) {
      throw new ProtocolError("a handshake on an open connection");
    }
    if (frame.kind === FRAME.ping) this.send({ kind: FRAME.pong });
    else if (frame.kind !== FRAME.pong) this.#events.onFrame(frame);
  }

  #shake(step: HandshakeStep): void {
    if (step.kind === "send") return this.#say(step);
    if (step.kind === "refuse") return this.refuse(step.reason);
    if (step.kind === "refused") return this.end(`the peer refused: ${step.reason}`);
    if (step.last) this.#say(step.last);
    this.#state = "open";
    this.#decoder.sizeMax = this.#limits.frameBytesMax;
    this.#cancelTimer();
    this.#listen();
    this.#events.onOpen(step.peer);
  }

  /** Says why, and ends it. */
  refuse(reason: Extract<HandshakeStep, { kind: "refuse" }>["reason"]): void {
    this.send({ kind: FRAME.refusal }, (writer) => writer.raw(encodeRefusal(reason)));
    this.finish(`refused: ${reason}`);
  }

  /** Sends a part of the handshake. */
  #say({ frame, payload }: Extract<HandshakeStep, { kind: "send" }>): void {
    this.send({ kind: frame }, (writer) => writer.raw(payload));
  }

  /**
   * Looks after the peer every `pingMs`, and asks when it is silent. What counts is
   * how often it was found so, not the time: a process that was stopped for a minute
   * wakes to a peer that was not silent at all.
   */
  #listen(): void {
    const { pingMs } = this.#limits;
    this.#cancelTimer = this.#ports.clock.after(pingMs, () => {
      this.#silences = this.#heard || this.#paused ? 0 : this.#silences + 1;
      this.#blockades = this.#isBlocked() ? this.#blockades + 1 : 0;
      const { silenceMs } = this.#limits;
      if (this.#silences * pingMs >= silenceMs) return this.end("the peer is silent");
      if (this.#blockades * pingMs >= silenceMs) return this.end("the peer takes nothing");
      if (!this.#heard || !this.#spoke) this.send({ kind: FRAME.ping });
      this.#heard = false;
      this.#spoke = false;
      this.#listen();
    });
  }

  /** Whether bytes wait to leave, and none has since this was asked last. */
  #isBlocked(): boolean {
    const queuedBytes = this.#carrier?.queuedBytes ?? 0;
    const before = this.#leftBytes;
    this.#leftBytes = this.#sentBytes - queuedBytes;
    return queuedBytes > 0 && this.#leftBytes === before;
  }
}
