/**
 * What the replication core knows of its own log: how far it reaches, how far it
 * would survive, how far it is confirmed, and which epochs it is made of.
 *
 *   start ≤ confirmOffset ≤ end,  start ≤ durableEnd ≤ end
 *
 * The confirmOffset of a follower may lie beyond its durableEnd: the others are
 * not asked what they have, and a member that counts has it synced.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { Restored } from "./effects.ts";
import { EpochTable } from "./epoch_table.ts";

export class LogFacts {
  start: number;
  end: number;
  durableEnd: number;
  /** As far as this node knows; never falls. */
  confirmOffset: number;
  /** crc32 of the last frame. */
  lastCrc: number;
  readonly epochs: EpochTable;

  constructor(restored: Restored) {
    const { start, end, lastCrc, confirmOffset } = restored;
    this.start = start;
    this.end = end;
    this.durableEnd = end;
    this.lastCrc = lastCrc;
    this.confirmOffset = Math.min(confirmOffset, end);
    this.epochs = new EpochTable(restored.epochs);
  }

  append(to: number, lastCrc: number): void {
    assert(to > this.end, "an append moves the end");
    this.end = to;
    this.lastCrc = lastCrc;
  }

  synced(end: number): void {
    this.durableEnd = Math.max(this.durableEnd, Math.min(end, this.end));
  }

  /** @returns whether it moved. */
  confirm(offset: number): boolean {
    const reached = Math.min(offset, this.end);
    if (reached <= this.confirmOffset) return false;
    this.confirmOffset = reached;
    return true;
  }

  cut(to: number, lastCrc: number): void {
    assert(to >= this.start && to <= this.end, "a cut lies within the log");
    this.end = to;
    this.lastCrc = lastCrc;
    this.durableEnd = Math.min(this.durableEnd, to);
    this.confirmOffset = Math.min(this.confirmOffset, to);
    this.epochs.cut(to);
  }

  trim(start: number): void {
    assert(start <= this.confirmOffset, "only what is confirmed is let go");
    this.start = Math.max(this.start, start);
    this.epochs.trim(this.start);
  }
}
