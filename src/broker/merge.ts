/**
 * The queues of a topic as one stream: always the unit that became visible
 * first, up to a log offset. Ties (messages revealed by one record) go by
 * queueId, then queueOffset.
 *
 * @module
 */

import type { QueueReader, Unit } from "../../storage/mod.ts";

export interface MergedUnit {
  readonly queueId: number;
  readonly queueOffset: number;
  readonly unit: Unit;
}

/** One queue's units, read ahead. */
interface Lane {
  readonly queueId: number;
  units: readonly Unit[];
  /** Of units[0]. */
  firstOffset: number;
  at: number;
  done: boolean;
}

export class MergedQueues {
  readonly #reader: QueueReader;
  readonly #range: { readonly topicGen: number; readonly end: number; readonly ahead: number };
  #lanes: Lane[] = [];
  #current: Lane | undefined;
  #lastLogOffset = -1;
  #lastIndex = -1;

  /** @param range.ahead units read at once per queue. */
  constructor(
    reader: QueueReader,
    range: { readonly topicGen: number; readonly end: number; readonly ahead: number },
  ) {
    this.#reader = reader;
    this.#range = range;
  }

  async start(
    queueIds: readonly number[],
    seek: (queueId: number) => Promise<number>,
  ): Promise<void> {
    this.#lanes = await Promise.all(
      queueIds.map(async (queueId) => {
        const firstOffset = await seek(queueId);
        return { queueId, units: [], firstOffset, at: 0, done: false };
      }),
    );
    await Promise.all(this.#lanes.map((lane) => this.#fill(lane)));
  }

  async #fill(lane: Lane): Promise<void> {
    const { topicGen, ahead } = this.#range;
    const from = lane.firstOffset + lane.units.length;
    const slice = await this.#reader.read(
      { topicGen, queueId: lane.queueId },
      { from, max: ahead },
    );
    lane.units = slice.units;
    lane.firstOffset = slice.firstOffset;
    lane.at = 0;
    lane.done = slice.units.length === 0;
  }

  /** Reads ahead when `peek` needs it; undefined when it does not. */
  fill(): Promise<void> | undefined {
    const last = this.#current;
    return last && last.at === last.units.length && !last.done ? this.#fill(last) : undefined;
  }

  /** The next unit, which stays until `advance`; undefined when none is left below the end. */
  peek(): MergedUnit | undefined {
    let lane: Lane | undefined;
    let earliest = this.#range.end;
    for (const one of this.#lanes) {
      const offset = one.units[one.at]?.visibleLogOffset ?? Infinity;
      if (offset >= earliest) continue;
      earliest = offset;
      lane = one;
    }
    this.#current = lane;
    const unit = lane?.units[lane.at];
    if (!lane || !unit) return undefined;
    return { queueId: lane.queueId, queueOffset: lane.firstOffset + lane.at, unit };
  }

  /** How many units of this log offset were passed since the start. */
  indexIn(logOffset: number): number {
    return this.#lastLogOffset === logOffset ? this.#lastIndex + 1 : 0;
  }

  advance(): void {
    const lane = this.#current;
    const unit = lane?.units[lane.at];
    if (!lane || !unit) return;
    this.#lastIndex = this.indexIn(unit.visibleLogOffset);
    this.#lastLogOffset = unit.visibleLogOffset;
    lane.at++;
  }
}
