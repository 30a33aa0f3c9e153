/**
 * The places a search looks at, the last to become visible first: those the KeyIndex names for a key,
 * or all there are in the queues of a topic.
 *
 * @module
 */

import { stableHash } from "../../storage/base/hash.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { Visible } from "./bodies.ts";
import type { Step } from "./page.ts";
import { compareSearchPositions, type SearchPosition } from "./page_token.ts";
import type { TopicState } from "./topics.ts";
import type { UnitSource } from "./unit_source.ts";

export interface SearchRange {
  readonly topic: TopicState;
  readonly before: SearchPosition;
  /** Became visible then or later. */
  readonly from: number;
}

/** Entries read at once. */
const CHUNK = 128;
/** Segments a page looks into, at most: two small reads each. */
const SEGMENTS_MAX = 256;

/** What has a key, or may have it. */
export class KeySource implements UnitSource<SearchPosition> {
  readonly #store: MessageStore;
  readonly #range: SearchRange;
  readonly #key: { readonly topicGen: number; readonly hash: number };
  /** Bases of the segments to look into, the next one last. */
  readonly #bases: number[];
  #segmentsLeft = SEGMENTS_MAX;
  #steps: Step<SearchPosition>[] = [];
  #at = 0;
  #over = false;
  end: SearchPosition;

  constructor(store: MessageStore, about: SearchRange & { readonly index: string }) {
    const { topic, before, from } = about;
    this.#store = store;
    this.#range = about;
    this.#key = { topicGen: topic.generation, hash: stableHash(about.index) };
    const oldest = store.log.offsetAt(Math.max(from, topic.createdAt));
    const bases = store.log.segments.map(({ base }) => base);
    this.#bases = bases.filter((base) => base >= oldest && base <= before.logOffset);
    this.end = before;
  }

  get exhausted(): boolean {
    return this.#over || this.#bases.length === 0;
  }

  fill(): Promise<void> | undefined {
    return this.#at < this.#steps.length || !this.#canGoOn ? undefined : this.#fill();
  }

  get #canGoOn(): boolean {
    return !this.exhausted && this.#segmentsLeft > 0;
  }

  async #fill(): Promise<void> {
    this.#steps = [];
    this.#at = 0;
    while (this.#steps.length === 0 && this.#canGoOn) {
      const base = this.#bases.at(-1) as number;
      const before = { place: this.end.logOffset - base, item: this.end.rank };
      const range = { base, before, max: CHUNK };
      const entries = await this.#store.indexes.keys.find(this.#key, range);
      const steps = await Promise.all(
        entries.map(async ({ place, item, ...at }) => {
          const after = { logOffset: base + place, rank: item, queueOffset: 0 };
          return { visible: await this.#visible(base, at), after };
        }),
      );
      for (const { visible, after } of steps) {
        if (visible && visible.unit.visibleAt < this.#range.from) this.#over = true;
        else if (visible && !this.#over) this.#steps.push({ visible, after });
        this.end = after;
      }
      if (entries.length === CHUNK) continue;
      this.#bases.pop();
      this.#segmentsLeft--;
      this.end = { logOffset: base, rank: 0, queueOffset: 0 };
    }
  }

  async #visible(
    base: number,
    { queueId, queueOffset }: { readonly queueId: number; readonly queueOffset: number },
  ): Promise<Visible | undefined> {
    const queue = { topicGen: this.#key.topicGen, queueId };
    const unit = await this.#store.reader.unitAt(queue, { base, queueOffset });
    return unit && { queueId, queueOffset, unit };
  }

  peek(): Step<SearchPosition> | undefined {
    return this.#steps[this.#at];
  }

  advance(): void {
    this.#at++;
  }
}

/** One queue, read backwards. */
interface Lane {
  readonly queueId: number;
  start: number;
  /** Behind what was not read yet. */
  end: number;
  /** Ascending: the last is the next. */
  places: Visible[];
}

/** All queues of a topic, from a position back. */
export class BackwardSource implements UnitSource<SearchPosition> {
  readonly #store: MessageStore;
  readonly #range: SearchRange;
  readonly #ahead: number;
  readonly #lanes: Lane[] = [];
  #current: Lane | undefined;
  #over = false;
  end: SearchPosition;

  /** @param about.ahead units read at once per queue. */
  constructor(store: MessageStore, about: SearchRange & { readonly ahead: number }) {
    this.#store = store;
    this.#range = about;
    this.#ahead = about.ahead;
    this.end = about.before;
  }

  async start(): Promise<this> {
    const { generation: topicGen, config } = this.#range.topic;
    const queueIds = Array.from({ length: config.queues }, (_, queueId) => queueId);
    await Promise.all(
      queueIds.map(async (queueId) => {
        const found = this.#store.queues.find(topicGen, queueId);
        if (!found) return;
        const { start } = found;
        const lane = { queueId, start, end: await this.#endOf(queueId), places: [] };
        await this.#read(lane);
        this.#lanes.push(lane);
      }),
    );
    return this;
  }

  /** The queueOffset of the first message that is not before the position. */
  #endOf(queueId: number): number | Promise<number> {
    const { topic, before } = this.#range;
    if (queueId === before.rank && before.queueOffset > 0) return before.queueOffset;
    const queue = { topicGen: topic.generation, queueId };
    const logOffset = before.logOffset + (queueId < before.rank ? 1 : 0);
    const base = this.#store.log.segmentAt(logOffset)?.base ?? 0;
    return this.#store.reader.seek(queue, { by: "log", logOffset, base });
  }

  /** The units before those that were read. */
  async #read(lane: Lane): Promise<void> {
    const queue = { topicGen: this.#range.topic.generation, queueId: lane.queueId };
    lane.start = this.#store.queues.find(queue.topicGen, queue.queueId)?.start ?? lane.end;
    while (lane.places.length === 0 && lane.end > lane.start) {
      const first = Math.max(lane.start, lane.end - this.#ahead);
      for (let from = first; from < lane.end; ) {
        const slice = await this.#store.reader.read(queue, { from, max: lane.end - from });
        if (slice.units.length === 0) break;
        for (const [i, unit] of slice.units.entries()) {
          const queueOffset = slice.firstOffset + i;
          if (queueOffset < lane.end)
            lane.places.push({ queueId: lane.queueId, queueOffset, unit });
        }
        from = slice.firstOffset + slice.units.length;
      }
      lane.end = first;
    }
  }

  get exhausted(): boolean {
    return this.#over || this.#lanes.every(({ places, end, start }) => !places[0] && end <= start);
  }

  fill(): Promise<void> | undefined {
    const last = this.#current;
    return last && last.places.length === 0 && last.end > last.start ? this.#read(last) : undefined;
  }

  peek(): Step<SearchPosition> | undefined {
    let latest: Step<SearchPosition> | undefined;
    for (const lane of this.#over ? [] : this.#lanes) {
      const step = stepOf(lane.places.at(-1));
      if (!step || (latest && compareSearchPositions(step.after, latest.after) < 0)) continue;
      latest = step;
      this.#current = lane;
    }
    if (!latest || latest.visible.unit.visibleAt >= this.#range.from) return latest;
    this.#over = true;
    return undefined;
  }

  advance(): void {
    this.#current?.places.pop();
  }
}

function stepOf(visible: Visible | undefined): Step<SearchPosition> | undefined {
  if (!visible) return undefined;
  const { queueId, queueOffset, unit } = visible;
  return { visible, after: { logOffset: unit.visibleLogOffset, rank: queueId, queueOffset } };
}
