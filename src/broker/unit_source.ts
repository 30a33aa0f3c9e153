/**
 * The places of a log read in its order: of one queue by their offsets, or of
 * all queues of a topic by the log offset that made each visible.
 *
 * @module
 */

import { lostUnit, type QueueReader, type Unit } from "../../storage/mod.ts";
import type { StreamPosition } from "./cursor.ts";
import type { MergedQueues } from "./merge.ts";
import type { Step } from "./page.ts";
import type { Position } from "./reading.ts";

export interface UnitSource<P = Position> {
  /** Reads ahead when `peek` needs it; undefined when it does not. */
  fill(): Promise<void> | undefined;
  /** The next place, which stays until `advance`; undefined when none is left. */
  peek(): Step<P> | undefined;
  advance(): void;
  /** Whether `peek` gave undefined because there is no more. */
  readonly exhausted: boolean;
  /** Where a reader stands who has seen all there was. */
  readonly end: P;
}

/** One queue, from an offset up to another. */
export class QueueSource implements UnitSource {
  readonly #reader: QueueReader;
  readonly #queue: { readonly topicGen: number; readonly queueId: number };
  readonly #end: number;
  readonly #ahead: number;
  #next: number;
  #units: readonly Unit[] = [];
  /** Of units[0]. */
  #firstOffset = 0;
  /** Damage took what lies from `#next` up to there: one place to step over. */
  #lostTo: number | undefined;

  constructor(
    reader: QueueReader,
    about: {
      readonly queue: { readonly topicGen: number; readonly queueId: number };
      readonly from: number;
      readonly end: number;
      /** Units read at once. */
      readonly ahead: number;
    },
  ) {
    this.#reader = reader;
    this.#queue = about.queue;
    this.#next = about.from;
    this.#end = about.end;
    this.#ahead = about.ahead;
  }

  /** False when units that should be there cannot be read. */
  get exhausted(): boolean {
    return this.#next >= this.#end;
  }

  get end(): Position {
    return { kind: "queue", queueId: this.#queue.queueId, queueOffset: this.#next };
  }

  fill(): Promise<void> | undefined {
    const known = this.#unit !== undefined || this.#lostTo !== undefined;
    return known || this.exhausted ? undefined : this.#fill();
  }

  peek(): Step | undefined {
    const lostTo = this.#lostTo;
    const unit = lostTo === undefined ? this.#unit : lostUnit(this.#units[0] ?? NOWHERE);
    if (!unit || this.exhausted) return undefined;
    const { queueId } = this.#queue;
    const queueOffset = this.#next;
    const after = { kind: "queue", queueId, queueOffset: lostTo ?? queueOffset + 1 } as const;
    return { visible: { queueId, queueOffset, unit }, after };
  }

  advance(): void {
    this.#next = this.#lostTo ?? this.#next + 1;
    this.#lostTo = undefined;
  }

  get #unit(): Unit | undefined {
    return this.#units[this.#next - this.#firstOffset];
  }

  async #fill(): Promise<void> {
    const max = Math.min(this.#end - this.#next, this.#ahead);
    const slice = await this.#reader.read(this.#queue, { from: this.#next, max });
    this.#units = slice.units;
    this.#firstOffset = slice.firstOffset;
    const lost = slice.lostFrom !== undefined;
    this.#lostTo = lost ? Math.min(slice.firstOffset, this.#end) : undefined;
    if (!lost) this.#next = Math.max(this.#next, slice.firstOffset); // over what was removed
  }
}

/** Of what is lost at the end of a queue. */
const NOWHERE = { visibleLogOffset: 0, visibleAt: 0 };

/** All queues of a topic, merged, behind a position and up to a log offset. */
export class StreamSource implements UnitSource {
  readonly exhausted = true;
  readonly #merged: MergedQueues;
  readonly #from: StreamPosition;
  readonly #end: number;

  constructor(
    merged: MergedQueues,
    range: { readonly from: StreamPosition; readonly end: number },
  ) {
    this.#merged = merged;
    this.#from = range.from;
    this.#end = range.end;
  }

  /** Leaves out what was read before of the record at the position; `merged` was started there. */
  async skipRead(): Promise<this> {
    const { logOffset, index } = this.#from;
    for (let read = 0; read < index; read++) {
      await this.fill();
      if (this.#merged.peek()?.unit.visibleLogOffset !== logOffset) break;
      this.advance();
    }
    return this;
  }

  /** A leader may show less than the one before did: whoever has read further stays where they are. */
  get end(): Position {
    const end = { logOffset: this.#end, index: 0 };
    return { kind: "stream", position: this.#from.logOffset < this.#end ? end : this.#from };
  }

  fill(): Promise<void> | undefined {
    return this.#merged.fill();
  }

  peek(): Step | undefined {
    const visible = this.#merged.peek();
    if (!visible) return undefined;
    const logOffset = visible.unit.visibleLogOffset;
    const position = { logOffset, index: this.#merged.indexIn(logOffset) + 1 };
    return { visible, after: { kind: "stream", position } };
  }

  advance(): void {
    this.#merged.advance();
  }
}
