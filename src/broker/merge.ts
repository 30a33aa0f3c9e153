/**
 * The queues of a topic as one stream: always the unit that became visible
 * first, up to a log offset. Ties (messages revealed by one record) go by
 * queueId, then queueOffset.
 *
 * @module
 */

import { lostUnit, type QueueReader, type Unit } from "../../storage/mod.ts";

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
  /** Damage took what lay behind the unit before units[0], and all that told of it; nobody was told yet. */
  lost: MergedUnit | undefined;
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
        return { queueId, units: [], firstOffset, at: 0, done: false, lost: undefined };
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
    // Told by who comes by: it takes a place behind the last unit there was.
    const before = lane.units.at(-1);
    const { lostFrom: queueOffset } = slice;
    const told = before === undefined || queueOffset === undefined;
    lane.lost = told ? undefined : { queueId: lane.queueId, queueOffset, unit: lostUnit(before) };
    lane.units = slice.units;
    lane.firstOffset = slice.firstOffset;
    lane.at = 0;
    lane.done = slice.units.length === 0 && !lane.lost;
  }

  /** Reads ahead when `peek` needs it; undefined when it does not. */
  fill(): Promise<void> | undefined {
    const last = this.#current;
    const needs = last && !last.done && !last.lost && last.at === last.units.length;
    return needs ? this.#fill(last) : undefined;
  }

  /** The next unit, which stays until `advance`; undefined when none is left below the end. */
  peek(): MergedUnit | undefined {
    let lane: Lane | undefined;
    let earliest = this.#range.end;
    for (const one of this.#lanes) {
      const offset = (one.lost?.unit ?? one.units[one.at])?.visibleLogOffset ?? Infinity;
      if (offset >= earliest) continue;
      earliest = offset;
      lane = one;
    }
    this.#current = lane;
    return lane && nextOf(lane);
  }

  /** How many units of this log offset were passed since the start. */
  indexIn(logOffset: number): number {
    return this.#lastLogOffset === logOffset ? this.#lastIndex + 1 : 0;
  }

  advance(): void {
    const lane = this.#current;
    const next = lane && nextOf(lane);
    if (!next) return;
    const { visibleLogOffset } = next.unit;
    this.#lastIndex = this.indexIn(visibleLogOffset);
    this.#lastLogOffset = visibleLogOffset;
    if (lane.lost) lane.lost = undefined;
    else lane.at++;
  }
}

function nextOf({ queueId, units, firstOffset, at, lost }: Lane): MergedUnit | undefined {
  const unit = units[at];
  return lost ?? (unit && { queueId, queueOffset: firstOffset + at, unit });
}
