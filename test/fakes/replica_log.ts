/**
 * A small honest log for replication, in memory: frames with a checksum, a chain,
 * their place and their epoch; a disk that outlives its process and loses what was
 * not synced when the power goes; and a stand-in for the broker that publishes
 * texts and answers when they are confirmed.
 *
 *   frame   size u32 · crc u32 of what follows · epoch u32 · prevCrc u32 ·
 *           logOffset f64 · text
 *
 * It asserts what a real one relies on: an append fits the end, a cut is not below
 * what was confirmed, nothing but what was found sound comes in.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Clock } from "../../storage/base/clock.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import type { LogRange, Promised, Restored } from "../../src/cluster/effects.ts";
import type { EpochStart } from "../../src/cluster/epoch_table.ts";
import type { Entries } from "../../src/cluster/messages.ts";
import type { Beginning, LentBeginning } from "../../storage/mod.ts";
import type {
  ReplicaLog,
  ReplicaLogEvents,
  TransferredUnits,
} from "../../src/cluster/replica_log.ts";

const HEADER = 24;

interface Frame {
  readonly from: number;
  readonly to: number;
  readonly epoch: number;
  readonly crc: number;
  readonly prevCrc: number;
  readonly text: string;
  readonly bytes: Uint8Array;
}

function makeFrame(parts: {
  readonly from: number;
  readonly epoch: number;
  readonly prevCrc: number;
  readonly text: string;
}): Frame {
  const text = new TextEncoder().encode(parts.text);
  const bytes = new Uint8Array(HEADER + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length);
  view.setUint32(8, parts.epoch);
  view.setUint32(12, parts.prevCrc);
  view.setFloat64(16, parts.from);
  bytes.set(text, HEADER);
  const crc = crc32(bytes.subarray(8));
  view.setUint32(4, crc);
  return { ...parts, to: parts.from + bytes.length, crc, bytes };
}

/** All frames of `bytes`, or undefined when one of them is not whole. */
function readFrames(bytes: Uint8Array): readonly Frame[] | undefined {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
    if (view.byteLength < HEADER) return undefined;
    const size = view.getUint32(0);
    if (size < HEADER || size > view.byteLength) return undefined;
    const own = bytes.slice(at, at + size);
    if (view.getUint32(4) !== crc32(own.subarray(8))) return undefined;
    const from = view.getFloat64(16);
    frames.push({
      from,
      to: from + size,
      epoch: view.getUint32(8),
      crc: view.getUint32(4),
      prevCrc: view.getUint32(12),
      text: new TextDecoder().decode(own.subarray(HEADER)),
      bytes: own,
    });
    at += size;
  }
  return frames;
}

/** What outlives a process. */
export class MemoryLogDisk {
  readonly id: string;
  frames: Frame[] = [];
  syncedCount = 0;
  promised: Promised | undefined;
  damaged: LogRange[] = [];
  confirmOffset = 0;
  /** Where the log begins. */
  start = 0;
  /** The frame before, as far as it is known. */
  before = { crc: 0, epoch: 0, from: 0 };
  /** All that is left of what was there. */
  keys: Uint8Array = new Uint8Array(0);

  constructor(id: string) {
    this.id = id;
  }

  get end(): number {
    return this.frames.at(-1)?.to ?? this.start;
  }

  losePower(): void {
    this.frames.length = this.syncedCount;
  }

  get lastCrc(): number {
    return this.frames.at(-1)?.crc ?? this.before.crc;
  }

  /** Lets go of what lies below `start`, a frame's place. @param keys of it. */
  trim(start: number, keys: Uint8Array): void {
    const last = this.frames.findLast(({ to }) => to === start);
    assert(last, "a log begins between two frames");
    this.before = { crc: last.crc, epoch: last.epoch, from: last.from };
    this.frames = this.frames.filter(({ from }) => from >= start);
    this.syncedCount = this.frames.length;
    this.start = start;
    this.keys = keys;
  }

  /** Begins with nothing but what another log's beginning tells. */
  begin({ start, prevCrc, epoch }: Beginning, keys: Uint8Array): void {
    this.start = start;
    this.before = { crc: prevCrc, epoch: epoch?.epoch ?? 0, from: epoch?.from ?? 0 };
    this.keys = keys;
    this.confirmOffset = start;
  }

  texts(below = Infinity): readonly string[] {
    return this.frames.filter(({ to }) => to <= below).map(({ text }) => text);
  }
}

interface Waiting {
  readonly end: number;
  resolve(): void;
}

export interface MemoryLogOptions {
  readonly clock: Clock;
  /** How long a sync takes. */
  syncMs(): number;
}

export class MemoryReplicaLog implements ReplicaLog {
  readonly disk: MemoryLogDisk;
  readonly restored: Restored;
  readonly #options: MemoryLogOptions;
  #events: ReplicaLogEvents | undefined;
  #syncing = false;
  #closed = false;
  #epoch = 0;
  readonly #waiting: Waiting[] = [];
  /** What was asked of it, in order. */
  readonly asked: string[] = [];

  constructor(disk: MemoryLogDisk, options: MemoryLogOptions) {
    this.disk = disk;
    this.#options = options;
    disk.syncedCount = disk.frames.length;
    disk.confirmOffset = Math.min(disk.confirmOffset, disk.end); // it may have been ahead of its own syncs
    const epochs: EpochStart[] = [];
    for (const { epoch, from } of [disk.before, ...disk.frames]) {
      if (epoch === 0) continue;
      if (epochs.at(-1)?.epoch !== epoch) epochs.push({ epoch, from });
    }
    this.restored = {
      start: disk.start,
      end: disk.end,
      lastCrc: disk.lastCrc,
      epochs,
      confirmOffset: disk.confirmOffset,
      promised: disk.promised,
      damaged: [...disk.damaged],
      vouches: true,
    };
  }

  /** The process is gone: what is under way never ends, and nothing is told. */
  close(): void {
    this.#closed = true;
    this.#events = undefined;
  }

  listen(events: ReplicaLogEvents): void {
    this.#events = events;
  }

  crcAt(logOffset: number): number | undefined {
    if (logOffset === this.disk.start) return this.disk.before.crc;
    return this.disk.frames.find(({ to }) => to === logOffset)?.crc;
  }

  async transfer(wish: {
    readonly from: number;
    readonly until: number;
    readonly epoch: number;
    readonly maxBytes: number;
  }): Promise<TransferredUnits | undefined> {
    const { frames, damaged } = this.disk;
    const chosen: Frame[] = [];
    let size = 0;
    for (const frame of frames) {
      if (frame.from < wish.from || frame.to > wish.until) continue;
      const hurt = damaged.some(({ from, to }) => frame.from < to && from < frame.to);
      if (hurt || (size > 0 && size + frame.bytes.length > wish.maxBytes)) break;
      chosen.push(frame);
      size += frame.bytes.length;
    }
    const [first, last] = [chosen[0], chosen.at(-1)];
    if (!first || !last || first.from !== wish.from) return undefined;
    assert(chosen.every(({ epoch }) => epoch === wish.epoch));
    const bytes = new Uint8Array(Buffer.concat(chosen.map((frame) => frame.bytes)));
    return { bytes, to: last.to, prevCrc: first.prevCrc, lastCrc: last.crc };
  }

  sound(entries: Entries): boolean {
    if (!(entries.bytes instanceof Uint8Array)) return false;
    const frames = readFrames(entries.bytes);
    if (!frames || frames.length === 0) return false;
    let [at, crc] = [entries.from, entries.prevCrc];
    for (const frame of frames) {
      if (frame.from !== at || frame.prevCrc !== crc) return false;
      if (frame.epoch !== entries.frameEpoch) return false;
      [at, crc] = [frame.to, frame.crc];
    }
    return at === entries.to && crc === entries.lastCrc;
  }

  append(entries: Entries): void {
    assert(this.sound(entries), "only what is sound is appended");
    assert.equal(entries.from, this.disk.end);
    this.asked.push(`append ${entries.from}`);
    this.disk.frames.push(...(readFrames(entries.bytes as Uint8Array) ?? []));
    this.#sync();
  }

  truncate(to: number): Promise<{ readonly end: number; readonly lastCrc: number }> {
    const { disk } = this;
    this.asked.push(`truncate ${to}`);
    assert(to >= disk.confirmOffset, "nothing that was confirmed is cut");
    return this.#later(() => {
      disk.frames = disk.frames.filter((frame) => frame.to <= to);
      assert.equal(disk.end, to);
      disk.syncedCount = disk.frames.length;
      return { end: to, lastCrc: disk.lastCrc };
    });
  }

  confirm(confirmOffset: number): void {
    const { disk } = this;
    assert(confirmOffset > disk.confirmOffset && confirmOffset <= disk.end);
    disk.confirmOffset = confirmOffset;
    while ((this.#waiting[0]?.end ?? Infinity) <= confirmOffset) this.#waiting.shift()?.resolve();
  }

  replicated(_end: number): void {}

  promise(promised: Promised): Promise<void> {
    this.asked.push(`promise ${promised.epoch}`);
    return this.#later(() => {
      this.disk.promised = promised;
    });
  }

  async mend(range: LogRange): Promise<Uint8Array | undefined> {
    const frames = this.disk.frames.filter(({ from }) => from >= range.from && from < range.to);
    if (this.disk.damaged.length > 0 || frames.at(-1)?.to !== range.to) return undefined;
    return new Uint8Array(Buffer.concat(frames.map(({ bytes }) => bytes)));
  }

  rewrite(range: LogRange, bytes: Uint8Array): Promise<boolean> {
    const fits = readFrames(bytes)?.every((frame) =>
      this.disk.frames.some(({ from, crc }) => from === frame.from && crc === frame.crc),
    );
    return this.#later(() => {
      if (!fits) return false;
      const same = ({ from, to }: LogRange) => from === range.from && to === range.to;
      this.disk.damaged = this.disk.damaged.filter((one) => !same(one));
      return true;
    });
  }

  /** Bytes of it are found to be others than were written. */
  decay(index: number): void {
    const { from, to } = this.disk.frames[index] as Frame;
    this.disk.damaged.push({ from, to });
    this.#events?.damaged({ from, to });
  }

  /** Retention let the log begin later. */
  trimmed(start: number): void {
    this.#events?.trimmed(start);
  }

  async beginning(): Promise<LentBeginning> {
    const { start, before, keys } = this.disk;
    const { epoch, from, crc } = before;
    const beginning = {
      start,
      prevCrc: crc,
      storedAt: 0,
      epoch: { epoch, from },
      describedTo: this.disk.end,
    };
    return {
      beginning,
      files: keys.length > 0 ? [{ from: 0, to: start, size: keys.length }] : [],
      read: async (_, { at, size }) => {
        const bytes = keys.slice(at, at + size);
        return { bytes, crc: crc32(bytes) };
      },
      release: async () => void this.asked.push("release"),
    };
  }

  // What stands in for the broker

  lead(epoch: number): void {
    this.#epoch = epoch;
    this.#append("epoch-start");
  }

  /** Resolves once it is confirmed. */
  publish(text: string): Promise<void> {
    const end = this.#append(text);
    if (end <= this.disk.confirmOffset) return Promise.resolve(); // a set of one, synced at once
    return new Promise((resolve) => {
      this.#waiting.push({ end, resolve });
    });
  }

  #append(text: string): number {
    const { disk } = this;
    const prevCrc = disk.lastCrc;
    const frame = makeFrame({ from: disk.end, epoch: this.#epoch, prevCrc, text });
    disk.frames.push(frame);
    this.#events?.appended({ end: frame.to, lastCrc: frame.crc });
    this.#sync();
    return frame.to;
  }

  #sync(): void {
    if (this.#syncing) return;
    this.#syncing = true;
    const count = this.disk.frames.length;
    const covered = this.disk.frames[count - 1];
    void this.#later(() => {
      this.#syncing = false;
      const { disk } = this;
      if (covered && disk.frames[count - 1] !== covered) return; // cut meanwhile
      disk.syncedCount = Math.max(disk.syncedCount, count);
      this.#events?.synced(covered?.to ?? 0);
      if (disk.syncedCount < disk.frames.length) this.#sync();
    });
  }

  #later<T>(work: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#options.clock.after(this.#options.syncMs(), () => {
        if (!this.#closed) resolve(work());
      });
    });
  }
}
