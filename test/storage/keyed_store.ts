/**
 * A store with idempotency keys, and what a Map makes of them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { runRanges } from "../../storage/dedupe_run.ts";
import { draft, KiB, OpenStore, type StoreOptions } from "./fixture.ts";

export const WINDOW_MS = 10_000;

const sha256 = (text: string) => new Uint8Array(createHash("sha256").update(text).digest());
export const hashOf = (key: string) => sha256(key).subarray(0, 16);

/** What a lookup says of a message, wherever it was found. */
export interface Found {
  readonly id: string;
  readonly fingerprint: string;
  readonly queueOffset: number;
  readonly publishedAt: number;
}

interface Parts {
  readonly disk: MemoryDisk;
  readonly clock: ManualClock;
  readonly model: Map<string, Found>;
  /** The next queueOffset. */
  readonly next: number;
  readonly options: Partial<StoreOptions>;
}

export class Keyed {
  readonly disk: MemoryDisk;
  readonly clock: ManualClock;
  readonly model: Map<string, Found>;
  readonly options: Partial<StoreOptions>;
  open!: OpenStore;
  #next: number;

  private constructor(from: Parts) {
    this.disk = from.disk;
    this.clock = from.clock;
    this.model = from.model;
    this.options = from.options;
    this.#next = from.next;
  }

  static async on(from: Partial<Parts> = {}): Promise<Keyed> {
    const keyed = new Keyed({
      disk: from.disk ?? new MemoryDisk(),
      clock: from.clock ?? new ManualClock(1_700_000_000_000),
      model: from.model ?? new Map(),
      next: from.next ?? 0,
      options: from.options ?? {},
    });
    const { disk, clock } = keyed;
    const dedupe = { windowMs: WINDOW_MS };
    keyed.open = await OpenStore.on({
      disk,
      clock,
      segmentBytes: 2 * KiB,
      dedupe,
      ...from.options,
    });
    return keyed;
  }

  /** Another one on what is left, here or on another disk. */
  reopen(disk: MemoryDisk, options: Partial<StoreOptions> = this.options): Promise<Keyed> {
    const { clock, model } = this;
    return Keyed.on({ disk, clock, model, next: this.#next, options });
  }

  get now(): number {
    return this.clock.now();
  }

  put(key: string): void {
    const queueOffset = this.#next++;
    const id = `${key}.${queueOffset}`;
    const fingerprint = sha256(id).subarray(0, 8);
    const message = draft({ queueOffset, id, dedupe: { keyHash: hashOf(key), fingerprint } });
    const [place] = this.open.putUnit([message]);
    const publishedAt = place?.storedAt as number;
    this.model.set(key, { id, fingerprint: fingerprint.join(), queueOffset, publishedAt });
  }

  /** Other messages, without a key. */
  putPlain(): void {
    this.open.putUnit([draft({ queueOffset: this.#next++ })]);
  }

  expected(key: string, now = this.now): Found | undefined {
    const found = this.model.get(key);
    return found && found.publishedAt > now - WINDOW_MS ? found : undefined;
  }

  /** As a broker looks: in memory, in the runs, again when something moved meanwhile. */
  async lookup(key: string): Promise<Found | undefined> {
    const { dedupe } = this.open.store;
    const now = this.now;
    for (;;) {
      const young = dedupe.young(hashOf(key), now);
      if (young !== undefined) return this.#read(young);
      const { version } = dedupe;
      const found = await dedupe.older(hashOf(key), now);
      if (found) {
        const { id, fingerprint, queueOffset, publishedAt } = found;
        return { id, fingerprint: fingerprint.join(), queueOffset, publishedAt };
      }
      if (dedupe.young(hashOf(key), now) === undefined && dedupe.version === version)
        return undefined;
    }
  }

  async #read(logOffset: number): Promise<Found> {
    const frame = await this.open.store.log.readAt(logOffset);
    const message = frame && decodeMessage(frame.payload);
    assert(frame && message?.dedupe, "memory points at a message with a key");
    const { id, queueOffset } = message;
    const fingerprint = message.dedupe.fingerprint.join();
    return { id, fingerprint, queueOffset, publishedAt: frame.storedAt };
  }

  async check(keys: Iterable<string> = this.model.keys()): Promise<void> {
    for (const key of keys) assert.deepEqual(await this.lookup(key), this.expected(key), key);
  }

  async runs() {
    return runRanges(await this.disk.list("dedupe"));
  }

  async quiet(): Promise<void> {
    await this.open.settle();
    for (let i = 0; i < 30; i++) await setImmediate();
  }
}

export const keysOf = (count: number, prefix = "k") =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Every key a third of a segment; some time passes. */
export async function filled(count: number, options: Partial<StoreOptions> = {}): Promise<Keyed> {
  const keyed = await Keyed.on({ options });
  for (const key of keysOf(count)) {
    keyed.put(key);
    keyed.clock.advance(10);
  }
  await keyed.quiet();
  return keyed;
}
