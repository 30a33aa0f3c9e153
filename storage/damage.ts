/**
 * What is known of damage: ranges of the log whose bytes are not what was
 * written, whoever met them.
 *
 *   start, scrubber, reader ──add──▶ ranges ──▶ `/readyz`, the node's log, counters
 *
 * A range stays for the life of the node, for one node has no other copy; in a group
 * another member gives the bytes once more (mending.ts). Nothing is cut or renumbered
 * for it; whoever reads there is told, and goes on behind it.
 *
 * @module
 */

import type { DamagedRange } from "./recovery.ts";

/** Who met it first. */
export type FoundBy = "start" | "scrub" | "read";

/** Listed at most; what is found beyond is told and counted all the same. */
export const RANGES_MAX = 1000;

/** A file that is derived from the log does not hold what was written: it is built again. */
export abstract class DerivedDamage extends Error {}

export class DamageMap {
  #ranges: readonly DamagedRange[] = [];
  /** Times that something new was found. */
  readonly found: Record<FoundBy, number> = { start: 0, scrub: 0, read: 0 };
  readonly #told: (range: DamagedRange, by: FoundBy) => void;

  constructor(told: (range: DamagedRange, by: FoundBy) => void = () => {}) {
    this.#told = told;
  }

  /** In ascending order, apart from each other. */
  get ranges(): readonly DamagedRange[] {
    return this.#ranges;
  }

  add(range: DamagedRange, by: FoundBy): void {
    if (this.#covers(range)) return;
    this.found[by]++;
    this.#told(range, by);
    const apart = this.#ranges.filter(({ from, to }) => to < range.from || from > range.to);
    const joined = this.#ranges.filter((one) => !apart.includes(one));
    if (joined.length === 0 && apart.length >= RANGES_MAX) return;
    const from = Math.min(range.from, ...joined.map((one) => one.from));
    const to = Math.max(range.to, ...joined.map((one) => one.to));
    this.#ranges = [...apart, { from, to }].toSorted((a, b) => a.from - b.from);
  }

  #covers({ from, to }: DamagedRange): boolean {
    return this.#ranges.some((one) => one.from <= from && to <= one.to);
  }

  /** The log ends at `end` now. */
  forgetFrom(end: number): void {
    this.#ranges = this.#ranges
      .filter(({ from }) => from < end)
      .map(({ from, to }) => ({ from, to: Math.min(to, end) }));
  }

  /** What was written lies there again. */
  mended({ from, to }: DamagedRange): void {
    this.#ranges = this.#ranges.flatMap((one) => {
      const before = { from: one.from, to: Math.min(one.to, from) };
      const behind = { from: Math.max(one.from, to), to: one.to };
      return [before, behind].filter((part) => part.from < part.to);
    });
  }

  /** The log begins at `start` now: what lay before is gone, damaged or not. */
  forgetBelow(start: number): void {
    this.#ranges = this.#ranges
      .filter(({ to }) => to > start)
      .map(({ from, to }) => ({ from: Math.max(from, start), to }));
  }
}
