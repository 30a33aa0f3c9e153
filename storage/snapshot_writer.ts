/**
 * Writing snapshots, one after the other: what changed is packed in parts, a job in the
 * worker merges it with the snapshot before.
 *
 *   changes ──packed──▶ with those left over ──job──▶ written: nothing is left over
 *                                 ▲             │
 *                                 └──it failed──┘
 *
 * The changes of the last one are kept: where it is found damaged, the one before and the
 * changes of both do as well. Of what is kept there is one change per key.
 *
 * @module
 */

import { compactChanges, packChanges, type PackedChanges } from "./packed_changes.ts";
import { type Change, SnapshotDamage } from "./snapshot.ts";
import type { StorePorts } from "./store_ports.ts";

interface Place {
  readonly logOffset: number;
  /** Where the segment begins that a start will walk from its beginning. */
  readonly walkFrom: number;
}

export class SnapshotWriter {
  readonly #ports: Pick<StorePorts, "jobs" | "report" | "clock">;
  /** Changes of a snapshot that could not be written. */
  #leftOver: PackedChanges = [];
  /** The last snapshot, the one its changes go by, and those: all it takes to do without it. */
  #last = { logOffset: 0, since: 0, changes: [] as PackedChanges };

  constructor(ports: Pick<StorePorts, "jobs" | "report" | "clock">) {
    this.#ports = ports;
  }

  /** @param logOffset of the snapshot that is there; 0 for none. */
  startAt(logOffset: number): void {
    this.#last = { logOffset, since: logOffset, changes: [] };
  }

  /** @param changes since the last one, those that count more behind; each is read once. */
  async write(place: Place, changes: Iterable<Change>): Promise<void> {
    const packed = await this.pack(changes);
    this.#leftOver = await this.#joined(this.#leftOver, packed);
    await this.#write(place, this.#leftOver);
    this.#leftOver = [];
  }

  async #write(place: Place, next: PackedChanges): Promise<void> {
    const { jobs, report } = this.#ports;
    const { logOffset } = place;
    const { logOffset: before, since, changes } = this.#last;
    try {
      await jobs.run({ kind: "snapshot", ...place, changes: next, since: before });
      this.#last = { logOffset, since: before, changes: next };
    } catch (error) {
      if (!(error instanceof SnapshotDamage)) throw error;
      report(error);
      const both = await this.#joined(changes, next);
      await jobs.run({ kind: "snapshot", ...place, changes: both, since });
      this.#last = { logOffset, since, changes: both };
    }
  }

  /** While others work. */
  pack(changes: Iterable<Change>): Promise<PackedChanges> {
    return packChanges(changes, this.#pause);
  }

  async #joined(before: PackedChanges, after: PackedChanges): Promise<PackedChanges> {
    if (before.length === 0) return after;
    return compactChanges([...before, ...after], this.#pause);
  }

  readonly #pause = () => new Promise<void>((resolve) => this.#ports.clock.defer(resolve));
}
