/**
 * The consume queues: which messages are visible, by queue, in order.
 *
 * Derived from the confirmed log, one frame after the other. The units of young
 * segments are runs in memory; a sealed segment's runs lie in its sidecar. A
 * queue's runs form a chain from its newest segment back, with skips:
 *
 *   run n ──▶ run n−1                      (the segment before that holds it)
 *     ├─────▶ the last run whose ordinal is a multiple of 16
 *     └─────▶ the last run whose ordinal is a multiple of 256
 *
 * so memory holds one small object per non-empty queue, however long its
 * history, and any offset is found in a few steps. `queue_reader.ts` walks it.
 *
 * Invariant: a queue's units are consecutive: run by run, without gap or overlap.
 *
 * @module
 */

import { assert } from "./base/assert.ts";
import { MessageFields } from "./base/message.ts";
import { FLAG_DEFERRED, type Frame } from "./frame.ts";
import { KINDS } from "./records/mod.ts";
import { type Unit, UnitBuffer } from "./units.ts";

/** An older run of a queue: in which segment, and its first queueOffset. */
export interface Link {
  readonly base: number;
  readonly first: number;
}

/** What a run knows of those before it. */
export interface Links {
  /** How many runs came before. */
  readonly ordinal: number;
  readonly previous: Link | undefined;
  readonly skip16: Link | undefined;
  readonly skip256: Link | undefined;
}

export const NO_LINKS: Links = {
  ordinal: 0,
  previous: undefined,
  skip16: undefined,
  skip256: undefined,
};

/** The units of one queue in one young segment. */
export interface MemoryRun {
  readonly base: number;
  readonly first: number;
  readonly links: Links;
  readonly units: UnitBuffer;
}

export interface ConsumeQueue {
  readonly topicGen: number;
  readonly queueId: number;
  /** The first queueOffset that was not removed by retention or a purge. */
  start: number;
  /** The queueOffset the next visible message gets. */
  end: number;
  /** For the run to come. */
  links: Links;
  /** Oldest first; segments whose sidecar is not in use yet. */
  readonly runs: MemoryRun[];
  /** Already in the list of queues touched since it was taken. */
  touched: boolean;
}

/** A queue as it stood where a segment begins: what a snapshot holds of it. */
export interface QueueMark {
  readonly topicGen: number;
  readonly queueId: number;
  readonly start: number;
  readonly end: number;
  readonly links: Links;
}

const MESSAGE = KINDS.message.id;
const REVEAL = KINDS.reveal.id;
const DROP = KINDS.drop.id;
const HEAD = KINDS.head.id;

export class ConsumeQueues {
  readonly #topics = new Map<number, (ConsumeQueue | undefined)[]>();
  readonly #bySegment = new Map<number, ConsumeQueue[]>();
  /** By young segment: the oldest body, of another segment, that a unit points at. */
  readonly #bodiesFrom = new Map<number, number>();
  /** Got a run, or another start, since they were last marked. */
  #unsaved = new Set<ConsumeQueue>();
  /** Went since they were last marked. */
  #dropped: ConsumeQueue[] = [];
  #touched: ConsumeQueue[] = [];
  /** How many queues there are: those that ever had a message, of topics that are there. */
  count = 0;

  find(topicGen: number, queueId: number): ConsumeQueue | undefined {
    return this.#topics.get(topicGen)?.[queueId];
  }

  /** Puts a queue as a snapshot knew it. */
  restore(mark: QueueMark): void {
    const queue = this.#obtain(mark.topicGen, mark.queueId);
    queue.start = mark.start;
    queue.end = mark.end;
    queue.links = mark.links;
  }

  /** The oldest body that a unit of the young segment points at; where it begins when that is its own. */
  bodiesFrom(base: number): number {
    return this.#bodiesFrom.get(base) ?? base;
  }

  /** Takes in one confirmed frame of the segment at `base`. */
  apply(frame: Frame, base: number): void {
    if (frame.kind === MESSAGE && (frame.flags & FLAG_DEFERRED) === 0)
      this.#applyMessage(frame, base);
    else if (frame.kind === REVEAL) this.#applyReveal(frame, base);
    else if (frame.kind === HEAD) this.#applyHead(frame);
    else if (frame.kind === DROP) this.#applyDrop(frame);
  }

  #applyMessage({ view, payloadAt, logOffset, size, storedAt }: Frame, base: number): void {
    const queueId = MessageFields.queueId(view, payloadAt);
    const queue = this.#obtain(MessageFields.topicGen(view, payloadAt), queueId);
    this.#append(queue, base, {
      queueOffset: MessageFields.queueOffset(view, payloadAt),
      bodyLogOffset: logOffset,
      size,
      tagHash: MessageFields.tagHash(view, payloadAt),
      keyHash: MessageFields.keyHash(view, payloadAt),
      visibleLogOffset: logOffset,
      visibleAt: storedAt,
    });
  }

  #applyReveal({ payload, logOffset, storedAt }: Frame, base: number): void {
    for (const item of KINDS.reveal.decode(payload)?.items ?? []) {
      const { bodyLogOffset } = item;
      if (bodyLogOffset < this.bodiesFrom(base)) this.#bodiesFrom.set(base, bodyLogOffset);
      const visible = { visibleLogOffset: logOffset, visibleAt: storedAt };
      this.#append(this.#obtain(item.topicGen, item.queueId), base, { ...item, ...visible });
    }
  }

  /** A queue begins later. One whose units all went with their segments is known by this alone. */
  #applyHead({ payload }: Frame): void {
    const head = KINDS.head.decode(payload);
    if (!head) return;
    const { topicGen, queueId, firstOffset } = head;
    const queue = this.#obtain(topicGen, queueId);
    if (queue.links.ordinal === 0) queue.end = Math.max(queue.end, firstOffset);
    queue.start = Math.max(queue.start, Math.min(firstOffset, queue.end));
    this.#unsaved.add(queue);
  }

  /** The queues of a deleted topic go; their units stay in the sidecars, unreachable. */
  #applyDrop({ payload }: Frame): void {
    const drop = KINDS.drop.decode(payload);
    if (drop?.entity !== "topic") return;
    for (const queue of this.#topics.get(drop.generation) ?? []) {
      if (!queue) continue;
      this.#unsaved.delete(queue);
      this.#dropped.push(queue);
      this.count--;
    }
    this.#topics.delete(drop.generation);
  }

  #obtain(topicGen: number, queueId: number): ConsumeQueue {
    let queues = this.#topics.get(topicGen);
    if (!queues) {
      queues = [];
      this.#topics.set(topicGen, queues);
    }
    let queue = queues[queueId];
    if (!queue) {
      queue = { topicGen, queueId, start: 0, end: 0, links: NO_LINKS, runs: [], touched: false };
      queues[queueId] = queue;
      this.count++;
    }
    return queue;
  }

  #append(queue: ConsumeQueue, base: number, unit: Unit & { readonly queueOffset: number }): void {
    assert(unit.queueOffset >= queue.end, "a queueOffset is given once");
    if (queue.links.ordinal === 0) {
      queue.end = unit.queueOffset; // older ones are gone
      queue.start = Math.max(queue.start, queue.end);
    }
    let run = queue.runs.at(-1);
    if (!run || run.base !== base) run = this.#openRun(queue, base);
    while (queue.end < unit.queueOffset) {
      // Frames between were lost to damage: keep their places.
      run.units.push({ ...unit, size: 0, bodyLogOffset: 0, tagHash: 0, keyHash: 0 });
      queue.end++;
    }
    run.units.push(unit);
    queue.end++;
    if (queue.touched) return;
    queue.touched = true;
    this.#touched.push(queue);
  }

  #openRun(queue: ConsumeQueue, base: number): MemoryRun {
    const { links } = queue;
    const run = { base, first: queue.end, links, units: new UnitBuffer() };
    queue.runs.push(run);
    this.#unsaved.add(queue);
    const link = { base, first: queue.end };
    queue.links = {
      ordinal: links.ordinal + 1,
      previous: link,
      skip16: links.ordinal % 16 === 0 ? link : links.skip16,
      skip256: links.ordinal % 256 === 0 ? link : links.skip256,
    };
    const queues = this.#bySegment.get(base);
    if (queues) queues.push(queue);
    else this.#bySegment.set(base, [queue]);
    return run;
  }

  /** The queues that got units since the last call. */
  takeTouched(): readonly ConsumeQueue[] {
    const touched = this.#touched;
    if (touched.length === 0) return touched;
    for (const queue of touched) queue.touched = false;
    this.#touched = [];
    return touched;
  }

  /** Every queue with units in the segment, by (topicGen, queueId), with its run there. */
  runsOf(base: number): { queue: ConsumeQueue; run: MemoryRun }[] {
    const found: { queue: ConsumeQueue; run: MemoryRun }[] = [];
    for (const queue of this.#bySegment.get(base) ?? []) {
      const run = queue.runs.find((one) => one.base === base);
      if (run) found.push({ queue, run });
    }
    return found.sort(
      ({ queue: a }, { queue: b }) => a.topicGen - b.topicGen || a.queueId - b.queueId,
    );
  }

  /** The queues of a young segment, as they stood where it begins. */
  *marksAt(base: number): Generator<QueueMark> {
    for (const { topicGen, queueId, start, runs } of this.#bySegment.get(base) ?? []) {
      const run = runs.find((one) => one.base === base);
      if (run) yield { topicGen, queueId, start, end: run.first, links: run.links };
    }
  }

  /** Lets go of a segment's runs: its sidecar answers from now on. */
  release(base: number): void {
    for (const queue of this.#bySegment.get(base) ?? []) {
      const at = queue.runs.findIndex((run) => run.base === base);
      if (at >= 0) queue.runs.splice(at, 1);
    }
    this.#bySegment.delete(base);
    this.#bodiesFrom.delete(base);
  }

  /** The queues of topics deleted since the last call. */
  takeDropped(): readonly { readonly topicGen: number; readonly queueId: number }[] {
    const dropped = this.#dropped;
    this.#dropped = [];
    return dropped;
  }

  /**
   * The queues that changed since the last call, as they stood where segment `base` begins,
   * whenever they are read: once, and before that segment is released.
   */
  takeMarks(base: number): Iterable<QueueMark> {
    const unsaved = this.#unsaved;
    this.#unsaved = new Set();
    return this.#marksOf(unsaved, base);
  }

  *#marksOf(queues: Iterable<ConsumeQueue>, base: number): Generator<QueueMark> {
    for (const queue of queues) {
      const later = queue.runs.find((run) => run.base >= base);
      const { topicGen, queueId, start } = queue;
      const { end, links } = later ? { end: later.first, links: later.links } : queue;
      if (later && !this.#isDropped(queue)) this.#unsaved.add(queue);
      if (links.ordinal > 0 || start > 0) yield { topicGen, queueId, start, end, links };
    }
  }

  #isDropped({ topicGen, queueId }: ConsumeQueue): boolean {
    return this.find(topicGen, queueId) === undefined;
  }
}
