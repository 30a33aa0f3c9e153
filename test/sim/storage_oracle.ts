/**
 * The oracle of the storage simulation: a plain array of all that was appended,
 * and what must follow from it: the queues, the ids, the fold.
 *
 * It is told what rots. Such a record may be unreadable from then on, but only as
 * a range that the store lists; what it made visible may be a hole, or missing at
 * the edge of a queue. Everything else is where it was, and nothing else is listed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { decodeMessage } from "../../storage/base/message.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { KeyEntry } from "../../storage/keys.ts";
import type { MessageStore } from "../../storage/message_store.ts";
import type { RecordPlace } from "../../storage/replay.ts";
import type { About } from "../../storage/ops.ts";
import type { DamagedRange } from "../../storage/recovery.ts";
import { ChainFold, type OpenStore, type UnitRow } from "../storage/fixture.ts";

/** Of each topic. */
export const QUEUES = 3;

/** Index keys that messages have. */
export const KEYS = ["one", "two", "three", "four"];

/** One appended record, as the oracle knows it. */
export interface Appended {
  readonly place: RecordPlace;
  readonly end: number;
  /** Where its unit ends. */
  readonly unitEnd: number;
  readonly crc: number;
  readonly fold: (into: ChainFold) => void;
  readonly visible: readonly Visible[];
  readonly hidden?: Hidden;
  readonly dropped?: number;
  readonly id?: string;
  /** What it says about which messages. */
  readonly about?: readonly About[];
  /** Bytes of it changed at rest: by which of the damage, in the order of its coming. */
  rotten?: readonly number[];
  /** It cannot be read, and no snapshot has what it did. */
  outOfFold?: boolean;
  /** It cannot be read, and a start that was cut short may have written a snapshot without it. */
  doubtful?: boolean;
}

export interface Visible {
  readonly topicGen: number;
  readonly queueId: number;
  readonly queueOffset: number;
  readonly bodyLogOffset: number;
  readonly size: number;
  readonly keys: readonly string[];
}

/** A deferred message that nothing revealed yet. */
export interface Hidden {
  readonly topicGen: number;
  readonly queueId: number;
  readonly bodyLogOffset: number;
  readonly size: number;
  readonly keys: readonly string[];
}

/** Each doubles the ways to be tried. */
const MAX_FATES = 16;

export class StorageOracle {
  #log: Appended[] = [];
  /** Ranges that rotted, widened to records. */
  readonly #rot: DamagedRange[] = [];
  #rots = 0;
  /** Where the snapshots ended that stores began from. */
  readonly #froms = new Set<number>();
  #from = 0;

  /** Where the last record ends. */
  get end(): number {
    return this.#log.at(-1)?.end ?? 0;
  }

  /** The topic there is; dropping it makes the next. */
  get topicGen(): number {
    return 1 + Math.max(0, ...this.#log.map(({ dropped }) => dropped ?? 0));
  }

  remember(appended: Appended): void {
    this.#log.push(appended);
  }

  // Damage

  rot({ from, to }: DamagedRange): void {
    for (const record of this.#log) {
      const { place, end } = record;
      if (end <= from || place.logOffset >= to) continue;
      record.rotten = [...(record.rotten ?? []), this.#rots];
      this.#rot.push({ from: place.logOffset, to: end });
    }
    this.#rots++;
  }

  get rotten(): boolean {
    return this.#rot.length > 0;
  }

  get outOfFold(): boolean {
    return this.#log.some((record) => record.outOfFold);
  }

  /** A store begins from a snapshot that has all below `from`. */
  opening(from: number): void {
    this.#from = from;
    this.#froms.add(from);
    for (const record of this.#log) {
      const isBehind = record.place.logOffset >= from;
      // The power may have brought back a snapshot from before it rotted, which had been removed.
      if (record.rotten && (isBehind || record.outOfFold)) record.doubtful = true;
      if (!isBehind) record.outOfFold = false;
    }
  }

  /**
   * Nothing is called damaged that is not.
   *
   * @param confirmed behind it nothing was promised: between damage and the next whole
   * frame a power cut may have taken some, and the range tells of both.
   */
  checkDamage(ranges: readonly DamagedRange[], confirmed: number): void {
    for (const { from, to } of ranges) {
      for (let at = from; at < to; ) {
        if (at >= Math.max(confirmed, from + 1)) this.rot({ from: at, to });
        const rotten = this.#rot.find((one) => one.from <= at && at < one.to);
        assert(rotten, `${at} is called damaged, in ${from} to ${to}, and is whole`);
        at = rotten.to;
      }
    }
  }

  async #checkRecord(record: Appended, { log, damage }: MessageStore): Promise<void> {
    const { place, end, crc, rotten } = record;
    const { logOffset } = place;
    const frame = await log.read({ logOffset, size: end - logOffset });
    // The power may have brought back the bytes there were before it rotted: what is behind the
    // snapshot was walked then; of what is before it, the snapshot may be of when they were gone.
    if (frame && logOffset >= this.#from) {
      record.doubtful = false;
      record.outOfFold = false;
    }
    if (frame || !rotten) {
      return assert.equal(frame?.crc, crc, `the record at ${logOffset} is another`);
    }
    const told = damage.ranges.some(({ from, to }) => from <= logOffset && end <= to);
    assert(told, `the record at ${logOffset} cannot be read, and nobody is told`);
    if (logOffset >= this.#from) record.outOfFold = true;
  }

  /** By queue of the topic there is: the queueOffset of the next message. */
  nextOffsets(): Map<number, number> {
    const next = new Map<number, number>();
    const { topicGen } = this;
    for (const one of this.#log.flatMap(({ visible }) => visible)) {
      if (one.topicGen === topicGen) next.set(one.queueId, one.queueOffset + 1);
    }
    return next;
  }

  /** Of the topic there is. */
  hidden(): Hidden[] {
    const { topicGen } = this;
    const revealed = new Set(
      this.#log.flatMap(({ visible }) => visible.map((one) => one.bodyLogOffset)),
    );
    return this.#log.flatMap(({ hidden }) =>
      hidden?.topicGen === topicGen && !revealed.has(hidden.bodyLogOffset) ? [hidden] : [],
    );
  }

  /**
   * Forgets what lies behind `end`, which must be where a unit ends, or behind damage that
   * took the beginning of one nobody was promised; returns the first lost.
   */
  cutTo(end: number, damaged: readonly DamagedRange[]): Appended | undefined {
    const kept = this.#log.filter((one) => one.end <= end);
    const lost = this.#log[kept.length];
    this.#log = kept;
    assert.equal(this.end, end, "the log ends where a record does");
    const isDamage = damaged.some(({ from, to }) => to === end && from < end);
    if (!isDamage) assert.equal(kept.at(-1)?.unitEnd ?? 0, end, "the log ends where a unit does");
    return lost;
  }

  /** A store that was just opened holds what the oracle does, no less and no more. */
  async compare(open: OpenStore): Promise<void> {
    for (const record of this.#log) await this.#checkRecord(record, open.store);
    this.#compareFold(open);
    await this.#compareQueues(open);
    await this.#compareIds(open);
    await this.compareIndexes(open);
  }

  /** The confirmed messages are found by their keys, what was said about them by what it is about. */
  async compareIndexes({ store }: OpenStore): Promise<void> {
    const confirmed = this.#log.filter(({ end }) => end <= store.log.confirmOffset);
    const { topicGen } = this;
    const rotten = new Set(
      this.#log.flatMap(({ rotten, place }) => (rotten ? [place.logOffset] : [])),
    );
    const isRotten = (...offsets: number[]) => offsets.some((offset) => rotten.has(offset));
    for (const key of KEYS) {
      const wanted = confirmed.flatMap(({ visible, place: { logOffset } }) =>
        visible.flatMap(({ keys, queueId, queueOffset, bodyLogOffset, ...one }, item) =>
          one.topicGen === topicGen && keys.includes(key)
            ? [
                {
                  found: [logOffset, item, queueId, queueOffset].join(),
                  rotten: isRotten(logOffset, bodyLogOffset),
                },
              ]
            : [],
        ),
      );
      checkFound(await findByKey(store, { topicGen, key }), { wanted: wanted.reverse(), of: key });
    }
    const told = new Map<string, { about: About; wanted: Sought[] }>();
    for (const { about = [], place } of confirmed) {
      for (const one of about) {
        const key = `${one.hash}/${one.index}`;
        const { wanted } = told.get(key) ?? { wanted: [] };
        const { logOffset } = place;
        const next = { found: String(logOffset), rotten: isRotten(logOffset) };
        told.set(key, { about: one, wanted: [...wanted, next] });
      }
    }
    for (const { about, wanted } of told.values()) {
      checkFound(await findOps(store, about), { wanted, of: JSON.stringify(about) });
    }
  }

  #compareFold(open: OpenStore): void {
    const found = JSON.stringify(open.fold.dump());
    const doubtful = this.#log.filter((record) => record.doubtful && !record.outOfFold);
    const fates = this.#sharedFates(doubtful);
    assert(fates.length <= MAX_FATES, `${fates.length} fates are too many to be tried`);
    // Some of them may be in it: those that a snapshot had which was written before they rotted.
    for (let out = 0; JSON.stringify(this.#recount()) !== found; ) {
      if (++out >= 2 ** fates.length) assert.deepEqual(open.fold.dump(), this.#recount());
      for (const [i, records] of fates.entries()) {
        for (const record of records) record.outOfFold = ((out >> i) & 1) === 1;
      }
    }
    for (const record of doubtful) record.doubtful = false; // this process is known now
  }

  /** One process walked, or did not walk, what lies between two snapshots; what rotted at once, before or after it. */
  #sharedFates(doubtful: readonly Appended[]): Appended[][] {
    const froms = [...this.#froms].toSorted((a, b) => a - b);
    const between = ({ logOffset }: RecordPlace) => froms.findIndex((from) => from > logOffset);
    const fates = Map.groupBy(doubtful, ({ place, rotten = [] }) =>
      [between(place), ...rotten].join(),
    );
    return [...fates.values()];
  }

  #recount(): Record<string, string> {
    const recount = new ChainFold();
    for (const { fold, outOfFold } of this.#log) if (!outOfFold) fold(recount);
    return recount.dump();
  }

  async #compareQueues(open: OpenStore): Promise<void> {
    for (const [key, expected] of this.#visibleBelow(open.store.log.end)) {
      const [topicGen, queueId] = key.split("/").map(Number) as [number, number];
      const rows = await open.unitsOf(topicGen, queueId);
      const wanted = expected.map(
        ({ queueOffset, bodyLogOffset, size, rotten }): Wanted => ({
          row: [queueOffset, bodyLogOffset, size],
          rotten,
        }),
      );
      checkRows(rows, { wanted, queue: key });
    }
  }

  async #compareIds({ store: { indexes, log } }: OpenStore): Promise<void> {
    for (const { id, place, rotten } of this.#log.slice(-20)) {
      if (id === undefined || rotten) continue;
      const base = log.segmentAt(place.logOffset)?.base ?? 0;
      const found = await indexes.ids.find(stableHash(id), base);
      assert(found.includes(place.logOffset), `the id of the message at ${place.logOffset}`);
    }
  }

  /** Everything below confirmOffset may be seen, and nothing else. */
  checkVisible({ queues, log }: MessageStore): void {
    const { topicGen } = this;
    const visible = this.#visibleBelow(log.confirmOffset);
    for (let queueId = 0; queueId < QUEUES; queueId++) {
      const expected = visible.get(`${topicGen}/${queueId}`) ?? [];
      const end = queues.find(topicGen, queueId)?.end ?? 0;
      assert(end <= expected.length, "visible is confirmed");
      for (const { queueOffset, rotten } of expected.slice(end)) {
        assert(rotten, `${queueOffset} of queue ${queueId} is confirmed and not visible`);
      }
    }
  }

  /** By queue, topics dropped below `end` left out. */
  #visibleBelow(end: number): Map<string, Shown[]> {
    const found = new Map<string, Shown[]>();
    const below = this.#log.filter((one) => one.end <= end);
    const dropped = new Set(below.map((one) => one.dropped));
    const shown = below.flatMap(({ visible, rotten }) =>
      visible.map((one): Shown => ({ ...one, rotten: rotten !== undefined })),
    );
    for (const one of shown) {
      if (dropped.has(one.topicGen)) continue;
      const key = `${one.topicGen}/${one.queueId}`;
      const queue = found.get(key);
      if (queue) queue.push(one);
      else found.set(key, [one]);
    }
    return found;
  }
}

/** What an index should give, in words. */
interface Sought {
  readonly found: string;
  /** It may be missing. */
  readonly rotten: boolean;
}

function checkFound(
  found: readonly string[],
  { wanted, of }: { readonly wanted: readonly Sought[]; readonly of: string },
): void {
  const there = new Set(found);
  const expected = wanted.filter((one) => !one.rotten || there.has(one.found));
  assert.deepEqual(
    found,
    expected.map((one) => one.found),
    of,
  );
}

/** The last first: what made it visible, and where it lies in its queue. */
async function findByKey(
  { log, indexes, reader }: MessageStore,
  { topicGen, key }: { readonly topicGen: number; readonly key: string },
): Promise<string[]> {
  const found: string[] = [];
  for (const { base } of log.segments.toReversed()) {
    for (let before: KeyEntry | undefined; ; ) {
      const wanted = { topicGen, hash: stableHash(key) };
      const entries = await indexes.keys.find(wanted, { base, before, max: 3 });
      for (const { place, item, queueId, queueOffset } of entries) {
        const unit = await reader.unitAt({ topicGen, queueId }, { base, queueOffset });
        const frame = unit && unit.size > 0 ? await log.readAt(unit.bodyLogOffset) : undefined;
        const keys = frame && decodeMessage(frame.payload)?.index;
        if (keys?.includes(key)) found.push([base + place, item, queueId, queueOffset].join());
      }
      before = entries.at(-1);
      if (!before) break;
    }
  }
  return found;
}

async function findOps({ log, indexes }: MessageStore, about: About): Promise<string[]> {
  const found: string[] = [];
  for (const { base } of log.segments) {
    for (let from = base; ; ) {
      const places = await indexes.ops.find(about, { base, from, max: 2 });
      found.push(...places.map(String));
      from = (places.at(-1) ?? -1) + 1;
      if (places.length === 0) break;
    }
  }
  return found;
}

/** By a record that may be rotten. */
type Shown = Visible & { readonly rotten: boolean };

interface Wanted {
  readonly row: UnitRow;
  readonly rotten: boolean;
}

/** What rotted may be there, or a hole, or missing at the edges; the rest is where it was. */
function checkRows(
  rows: readonly UnitRow[],
  { wanted, queue }: { wanted: readonly Wanted[]; queue: string },
): void {
  const there = new Map(rows.map((row) => [row[0], row]));
  for (const { row, rotten } of wanted) {
    const found = there.get(row[0]);
    there.delete(row[0]);
    const hole = found === undefined || found[2] === 0;
    if (!hole || !rotten) assert.deepEqual(found, row, `queue ${queue}`);
  }
  assert.deepEqual([...there.values()], [], `queue ${queue} has more than was put`);
}
