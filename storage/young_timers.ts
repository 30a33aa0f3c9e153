/**
 * The timers of a young segment, in memory: in a heap as long as they are
 * pending, findable by the id of their message for as long as the segment is
 * young; and the timers, of whatever segment, that were recalled in it, or carried
 * into it: a carry is a new timer and takes the old one back.
 *
 *   slot      0   1   2   3 …        in order of append
 *   dueAt     ·   ·   ·   ·          for the heap, side by side
 *   entry     ·   ·   ·   ·          all of it (timer_entry.ts), in chunks
 *   heap      slots, the first one due on top
 *
 * About 60 bytes each. As slots rise with bodyLogOffset, equal dueAt go by slot.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { getU64, viewOf } from "./base/bytes.ts";
import { FLAG_DEFERRED, type Frame } from "./frame.ts";
import { KINDS } from "./records/mod.ts";
import { carriedFrom } from "./stored_message.ts";
import { SlotIndex } from "./slot_index.ts";
import { readTimer, type Timer, TIMER_SIZE, timerOf, writeTimer } from "./timer_entry.ts";
import type { TimerSource } from "./timer_source.ts";

const CHUNK_SLOTS = 1024;
const ID_HASH_AT = 28;

export class YoungTimers implements TimerSource {
  readonly loaded = true;
  readonly recall = false;
  readonly #chunks: DataView[] = [];
  #dueAts = new Float64Array(64);
  #heap = new Uint32Array(64);
  #count = 0;
  #pending = 0;
  readonly #ids = new SlotIndex((slot) => this.#chunk(slot).getUint32(at(slot) + ID_HASH_AT));
  readonly #recalled = new Set<number>();
  /** The greatest dueAt there was; 0 when there was none. */
  until = 0;
  #last = -1;

  #chunk(slot: number): DataView {
    return this.#chunks[Math.floor(slot / CHUNK_SLOTS)] as DataView;
  }

  /** How many are left. */
  get pending(): number {
    return this.#pending;
  }

  get dueAt(): number {
    return this.#pending > 0 ? (this.#dueAts[this.#heap[0] as number] as number) : Infinity;
  }

  get bodyLogOffset(): number {
    const slot = this.#heap[0] as number;
    return this.#pending > 0 ? getU64(this.#chunk(slot), at(slot) + 8) : Infinity;
  }

  /** The first one; there must be one. */
  timer(): Timer {
    return this.#at(this.#heap[0] as number);
  }

  #at(slot: number): Timer {
    return readTimer(this.#chunk(slot), at(slot));
  }

  load(): Promise<void> {
    return Promise.resolve();
  }

  /** @param timer behind those added before in the log. */
  add(timer: Timer): void {
    assert(timer.bodyLogOffset > this.#last, "timers come in log order");
    this.#last = timer.bodyLogOffset;
    const slot = this.#count++;
    if (slot % CHUNK_SLOTS === 0)
      this.#chunks.push(viewOf(new Uint8Array(CHUNK_SLOTS * TIMER_SIZE)));
    writeTimer(this.#chunk(slot), at(slot), { timer, recall: false });
    if (slot === this.#dueAts.length) this.#grow();
    this.#dueAts[slot] = timer.dueAt;
    this.until = Math.max(this.until, timer.dueAt);
    this.#ids.add(slot);
    this.#rise(this.#pending++, slot);
  }

  #grow(): void {
    const dueAts = new Float64Array(2 * this.#count);
    const heap = new Uint32Array(2 * this.#count);
    dueAts.set(this.#dueAts);
    heap.set(this.#heap.subarray(0, this.#pending));
    this.#dueAts = dueAts;
    this.#heap = heap;
  }

  // Fields are looked up once: this runs for every timer, some twenty levels deep.

  #rise(from: number, slot: number): void {
    const heap = this.#heap;
    const dueAts = this.#dueAts;
    const dueAt = dueAts[slot] as number;
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const other = heap[parent] as number;
      if ((dueAts[other] as number) <= dueAt) break; // of equal ones, who rises is the later slot
      heap[place] = other;
      place = parent;
    }
    heap[place] = slot;
  }

  /** Takes the first one off. */
  advance(): void {
    const heap = this.#heap;
    const dueAts = this.#dueAts;
    const count = --this.#pending;
    const slot = heap[count] as number;
    const dueAt = dueAts[slot] as number;
    let place = 0;
    for (let child = 1; child < count; child = 2 * place + 1) {
      let least = heap[child] as number;
      let leastDueAt = dueAts[least] as number;
      const right = child + 1;
      if (right < count) {
        const other = heap[right] as number;
        const otherDueAt = dueAts[other] as number;
        if (otherDueAt < leastDueAt || (otherDueAt === leastDueAt && other < least)) {
          least = other;
          leastDueAt = otherDueAt;
          child = right;
        }
      }
      if (dueAt < leastDueAt || (dueAt === leastDueAt && slot < least)) break;
      heap[place] = least;
      place = child;
    }
    if (count > 0) heap[place] = slot;
  }

  /** A timer, of this segment or an older one, was recalled here. */
  addRecall(bodyLogOffset: number): void {
    this.#recalled.add(bodyLogOffset);
  }

  isRecalled(bodyLogOffset: number): boolean {
    return this.#recalled.has(bodyLogOffset);
  }

  get recalled(): ReadonlySet<number> {
    return this.#recalled;
  }

  /** Timers, due or not, of messages whose id has this hash. */
  findIds(hash: number): Timer[] {
    return this.#ids.find(hash).map((slot) => this.#at(slot));
  }

  mayHoldId(hash: number): boolean {
    return this.#ids.find(hash).length > 0;
  }
}

/** Whether the record starts a timer or takes one back; a few starts none after all. */
export function concernsTimers({ kind, flags }: Frame): boolean {
  if (kind === KINDS.recall.id || kind === KINDS.carry.id) return true;
  return kind === KINDS.message.id && (flags & FLAG_DEFERRED) !== 0;
}

/** Takes one frame of a segment into its timers. */
export function indexTimers(frame: Frame, young: YoungTimers): void {
  if (frame.kind === KINDS.recall.id) {
    const recall = KINDS.recall.decode(frame.payload);
    if (recall) young.addRecall(recall.bodyLogOffset);
    return;
  }
  const timer = timerOf(frame);
  if (!timer) return;
  young.add(timer);
  const before = carriedFrom(frame);
  if (before !== undefined) young.addRecall(before);
}

function at(slot: number): number {
  return (slot % CHUNK_SLOTS) * TIMER_SIZE;
}
