/**
 * The disk of a simulated node: a log of units with an unsynced tail, and the
 * promise. The log is kept by unit, not by byte: a unit that a power cut tears
 * is a unit that recovery cuts, and what recovery makes of bytes is simulated
 * elsewhere (storage_world.ts).
 *
 *   units   0 … synced … cached
 *           │   kept    └─ after a power cut, some first ones; after a kill, all
 *
 * Two logs that hold the same unit object agree up to it, for a unit names the
 * one before it, and is made once.
 *
 * @module
 */

import type { Promised, Restored } from "../../src/cluster/effects.ts";
import type { EpochStart } from "../../src/cluster/epoch_table.ts";
import type { BrokerFrame } from "./cluster_broker.ts";
import type { Prng } from "../../storage/base/prng.ts";

export interface Unit {
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly prev: Unit | undefined;
  readonly crc: number;
  /** As its leader knew it at append. */
  readonly confirmOffset: number;
  readonly record: SimRecord;
}

export type SimRecord =
  | { readonly kind: "epoch-start" }
  | { readonly kind: "value"; readonly value: number; readonly queueOffset: number }
  | { readonly kind: "position"; readonly position: number }
  | { readonly kind: "broker"; readonly frames: readonly BrokerFrame[]; readonly at: number };

export function makeUnit(unit: Omit<Unit, "crc">): Unit {
  let crc = Math.imul((unit.prev?.crc ?? 0) ^ unit.from, 0x9e3779b1) ^ (unit.epoch * 31);
  if (unit.record.kind === "value") crc ^= Math.imul(unit.record.value + 1, 0x85ebca6b);
  crc = Math.imul(crc ^ (crc >>> 15), 0x2c1b3c6d);
  return { ...unit, crc: (crc ^ (crc >>> 13)) >>> 0 || 1 };
}

export class SimDisk {
  readonly id: string;
  units: Unit[] = [];
  /** So many of the units would survive. */
  synced = 0;
  /** The unit before the first one, once retention or a snapshot let go of it. */
  before: Unit | undefined;
  promised: Promised | undefined;
  readonly damaged = new Set<Unit>();
  /** Idempotency keys of what is before the log: values, here. */
  readonly keys = new Set<number>();
  /** The log is being replaced: what is there counts for nothing. */
  half = false;
  /** A sync failed: what it ever said it holds is not to be relied on. */
  failed = false;

  constructor(id: string) {
    this.id = id;
  }

  get start(): number {
    return this.before?.to ?? 0;
  }

  get last(): Unit | undefined {
    return this.units.at(-1) ?? this.before;
  }

  get end(): number {
    return this.last?.to ?? 0;
  }

  get syncedEnd(): number {
    return this.units[this.synced - 1]?.to ?? this.start;
  }

  /** How many units begin below `logOffset`. */
  countBelow(logOffset: number): number {
    let low = 0;
    let high = this.units.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.units[middle] as Unit).from < logOffset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The unit that ends at `logOffset`, if the log has one that does. */
  endingAt(logOffset: number): Unit | undefined {
    if (logOffset === this.start) return this.before;
    const unit = this.units[this.countBelow(logOffset) - 1];
    return unit?.to === logOffset ? unit : undefined;
  }

  holds(unit: Unit): boolean {
    return this.units[this.countBelow(unit.to) - 1] === unit || this.start >= unit.to;
  }

  /** Would still hold it after power loss, undamaged. */
  keeps(unit: Unit): boolean {
    const index = this.countBelow(unit.to) - 1;
    if (this.start >= unit.to) return true;
    return this.units[index] === unit && index < this.synced && !this.damaged.has(unit);
  }

  append(unit: Unit): void {
    this.units.push(unit);
  }

  truncate(to: number): void {
    const count = this.countBelow(to);
    for (const unit of this.units.splice(count)) this.damaged.delete(unit);
    this.synced = Math.min(this.synced, count);
  }

  /** Lets go of what lies below `start`. */
  trim(start: number): void {
    const count = this.countBelow(start);
    if (count === 0) return;
    this.before = this.units[count - 1];
    for (const unit of this.units.splice(0, count)) {
      this.damaged.delete(unit);
      if (unit.record.kind === "value") this.keys.add(unit.record.value);
    }
    this.synced = Math.max(0, this.synced - count);
  }

  /** Whether a publish with this value was answered before, as far as this disk knows. */
  knows(value: number): boolean {
    const has = ({ record }: Unit) => record.kind === "value" && record.value === value;
    return this.keys.has(value) || this.units.some(has);
  }

  /** The log begins behind `before`, with no units of its own. */
  begin(before: Unit | undefined): void {
    this.before = before;
    this.half = false;
  }

  /** At a start: what was being put in the place of a log is gone. */
  endReplacement(): void {
    if (!this.half) return;
    this.before = undefined;
    this.keys.clear();
    this.half = false;
  }

  losePower(prng: Prng): void {
    const kept = this.synced + prng.below(this.units.length - this.synced + 1);
    this.units.length = kept;
  }

  /** A failing disk lies about what it has synced. */
  loseSome(prng: Prng): void {
    this.units.length = Math.max(0, this.units.length - prng.below(20));
    this.synced = Math.min(this.synced, this.units.length);
  }

  /** What a node finds at its start: recovery has synced all there is. */
  recover(): Restored {
    this.synced = this.units.length;
    for (const unit of this.damaged) {
      const there = this.units[this.countBelow(unit.to) - 1] === unit;
      if (!there) this.damaged.delete(unit); // it went with the power
    }
    const confirmed = this.units.reduce((most, unit) => Math.max(most, unit.confirmOffset), 0);
    return {
      start: this.start,
      end: this.end,
      lastCrc: this.last?.crc ?? 0,
      epochs: this.epochs(),
      confirmOffset: Math.max(confirmed, this.start),
      promised: this.promised,
      damaged: [...this.damaged].map(({ from, to }) => ({ from, to })),
      vouches: !this.failed,
    };
  }

  epochs(): readonly EpochStart[] {
    const starts: EpochStart[] = [];
    const first = this.units[0];
    if (this.before) starts.push({ epoch: this.before.epoch, from: this.before.from });
    for (const { epoch, from } of this.units) {
      if (epoch !== starts.at(-1)?.epoch) starts.push({ epoch, from });
    }
    if (!first) return starts;
    return starts;
  }
}
