/**
 * How much of the log's beginning nothing visible needs: where it could start.
 *
 *   oldest ▶ │ segment │ segment │ segment │ … │ active │
 *            └─ all units removed, keys in runs ─┘   ▲
 *               a later unit that is not removed ────┘ has its body here: it ends before
 *
 * Only what storage knows: units below their queue's start, idempotency keys, bodies
 * that units of later segments point at. What else is held, by whom, the caller knows.
 *
 * Looking is cheap: a segment that is needed has a queue that says so, which is asked
 * first the next time.
 *
 * @module
 */

import type { Clock } from "./base/clock.ts";
import type { CommitLog } from "./commit_log.ts";
import type { Segment } from "./log_ports.ts";
import type { ConsumeQueues } from "./consume_queues.ts";
import type { DedupeStore } from "./dedupe_store.ts";
import { type Sidecars, withSidecar } from "./sidecars.ts";

/** Directory entries looked at in one go: a millisecond. */
const SLICE_ENTRIES = 10_000;

interface QueueEnd {
  readonly topicGen: number;
  readonly queueId: number;
  /** Behind its last unit in the segment. */
  readonly end: number;
}

export class Disposal {
  readonly #log: CommitLog;
  readonly #queues: ConsumeQueues;
  readonly #sidecars: Sidecars;
  readonly #dedupe: DedupeStore;
  readonly #clock: Clock;
  /** By segment: a queue with units there that are not removed, when it was looked at last. */
  readonly #blockers = new Map<number, QueueEnd>();

  constructor(parts: {
    readonly log: CommitLog;
    readonly queues: ConsumeQueues;
    readonly sidecars: Sidecars;
    readonly dedupe: DedupeStore;
    readonly clock: Clock;
  }) {
    this.#log = parts.log;
    this.#queues = parts.queues;
    this.#sidecars = parts.sidecars;
    this.#dedupe = parts.dedupe;
    this.#clock = parts.clock;
  }

  /** The greatest base at which the log could start, as far as what is visible goes; where it starts, or later. */
  async nextStart(): Promise<number> {
    const segments = [...this.#log.segments];
    const first = segments.findIndex(({ base }) => base === this.#log.start);
    let start = this.#log.start;
    let next = Math.max(0, first);
    for (; next < segments.length - 1; next++) {
      const { base, end } = segments[next] as Segment;
      if (end === undefined || this.#dedupe.needs({ base, end })) break;
      if (!this.#sidecars.at(base) || (await this.#isLive(base))) break;
      start = end;
    }
    for (const { base } of segments.slice(next)) {
      const bodiesFrom = this.#sidecars.at(base)?.bodiesFrom ?? this.#queues.bodiesFrom(base);
      if (bodiesFrom >= start || !(await this.#isLive(base))) continue;
      start = Math.max(this.#log.start, this.#log.segmentAt(bodiesFrom)?.base ?? 0);
    }
    return start;
  }

  /** Whether the segment has units that are not removed. */
  async #isLive(base: number): Promise<boolean> {
    const known = this.#blockers.get(base);
    if (known && this.#isKept(known)) return true;
    this.#blockers.delete(base);
    if (!this.#sidecars.at(base)) return true; // it is young
    const blocker = await withSidecar(this.#sidecars, base, async (sidecar) => {
      for (let first = 0; ; first += SLICE_ENTRIES) {
        let left = SLICE_ENTRIES;
        for (const queue of await sidecar.ends(first)) {
          if (this.#isKept(queue)) return queue;
          if (--left === 0) break;
        }
        if (left > 0) return undefined;
        await new Promise<void>((resolve) => this.#clock.defer(resolve));
      }
    });
    if (blocker) this.#blockers.set(base, blocker);
    return blocker !== undefined;
  }

  #isKept({ topicGen, queueId, end }: QueueEnd): boolean {
    return end > (this.#queues.find(topicGen, queueId)?.start ?? Infinity);
  }

  /** The log starts at `start`. */
  forgetBefore(start: number): void {
    for (const base of this.#blockers.keys()) if (base < start) this.#blockers.delete(base);
  }
}
