/**
 * The timers of a file one after the other, a group in memory at a time and the
 * next one ahead of need. While the first one is not loaded the directory tells a
 * bound before it, so a file that is due in a month takes no memory for its entries.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { compareKeys, type Timer, type TimerEntries, type TimerKey } from "./timer_entry.ts";
import type { TimerFile } from "./timer_file.ts";
import { GROUP_ENTRIES } from "./timer_layout.ts";
import type { TimerSource } from "./timer_source.ts";

export class TimerCursor implements TimerSource {
  readonly file: TimerFile;
  dueAt = Infinity;
  bodyLogOffset = Infinity;
  /** What lies at or before it was taken, or never will be. */
  #after: TimerKey;
  #group: number;
  /** Of `#group`; undefined while it is not loaded. */
  #entries: TimerEntries | undefined;
  #index = 0;
  #ahead: TimerEntries | undefined;
  #loading: Promise<void> | undefined;

  /** @param after the timers up to it are passed over. */
  constructor(file: TimerFile, after: TimerKey) {
    this.file = file;
    this.#after = after;
    this.#group = file.groupOf(after);
    this.#look();
  }

  get loaded(): boolean {
    return this.#entries !== undefined;
  }

  get loading(): boolean {
    return this.#loading !== undefined;
  }

  /** How many entries are left, recalls among them. */
  get pending(): number {
    const passed = this.#group * GROUP_ENTRIES + this.#index;
    return Math.max(0, this.file.entryCount - passed);
  }

  get recall(): boolean {
    return this.#entries?.isRecall(this.#index) ?? false;
  }

  timer(): Timer {
    assert(this.#entries, "a timer is looked at when it is loaded");
    return this.#entries.timer(this.#index);
  }

  advance(): void {
    this.#index++;
    this.#look();
  }

  /** Passes over what lies at or before `key`. */
  skipTo(key: TimerKey): void {
    this.#after = key;
    const group = this.file.groupOf(key);
    if (group > this.#group) {
      this.#group = group;
      this.#entries = undefined;
      this.#ahead = undefined;
      this.#index = 0;
    }
    this.#pass();
    this.#look();
  }

  #pass(): void {
    if (this.#entries) {
      const { dueAt, bodyLogOffset } = this.#after;
      const behind = this.#entries.firstFrom({ dueAt, bodyLogOffset: bodyLogOffset + 1 });
      this.#index = Math.max(this.#index, behind);
    }
  }

  /** Sees what comes first now. */
  #look(): void {
    while (this.#entries && this.#index >= this.#entries.count) {
      this.#group++;
      this.#entries = this.#ahead;
      this.#ahead = undefined;
      this.#index = 0;
      this.#pass();
    }
    if (this.#group >= this.file.groups) this.dueAt = this.bodyLogOffset = Infinity;
    else if (this.#entries) {
      this.dueAt = this.#entries.dueAt(this.#index);
      this.bodyLogOffset = this.#entries.bodyLogOffset(this.#index);
    } else {
      const bound = this.file.groupKey(this.#group);
      const later = compareKeys(bound, this.#after) > 0 ? bound : this.#after;
      ({ dueAt: this.dueAt, bodyLogOffset: this.bodyLogOffset } = later);
    }
  }

  /** When what is not loaded yet is due, at the earliest; Infinity when nothing is left to load. */
  get loadAt(): number {
    if (!this.#entries) return this.dueAt;
    const next = this.#group + 1;
    return this.#ahead || next >= this.file.groups ? Infinity : this.file.groupKey(next).dueAt;
  }

  /** Loads what comes first, or, when that is there, what follows it. @throws {TimerDamage} */
  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    const group = this.#group + (this.#entries ? 1 : 0);
    if (group >= this.file.groups) return;
    const entries = await this.file.group(group);
    if (group === this.#group && !this.#entries) {
      this.#entries = entries;
      this.#pass();
    } else if (group === this.#group + 1 && this.#entries) this.#ahead = entries;
    this.#look();
  }
}
