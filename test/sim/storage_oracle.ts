/**
 * The oracle of the storage simulation: a plain array of all that was appended,
 * and what must follow from it: the queues, the ids, the fold.
 *
 * @module
 */

import assert from "node:assert/strict";
import { decodeMessage } from "../../storage/base/message.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { KeyEntry } from "../../storage/keys.ts";
import type { RecordPlace } from "../../storage/fold.ts";
import type { MessageStore } from "../../storage/message_store.ts";
import type { About } from "../../storage/ops.ts";
import { ChainFold, type OpenStore } from "../storage/fixture.ts";

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

export class StorageOracle {
  #log: Appended[] = [];

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

  /** Forgets what lies behind `end`, which must be where a unit ends; returns the first lost. */
  cutTo(end: number): Appended | undefined {
    const kept = this.#log.filter((one) => one.end <= end);
    const lost = this.#log[kept.length];
    this.#log = kept;
    assert.equal(this.end, end, "the log ends where a record does");
    assert.equal(kept.at(-1)?.unitEnd ?? 0, end, "the log ends where a unit does");
    return lost;
  }

  /** A store that was just opened holds what the oracle does, no less and no more. */
  async compare(open: OpenStore): Promise<void> {
    const { log } = open.store;
    for (const { place, end, crc } of this.#log) {
      const frame = await log.read({ logOffset: place.logOffset, size: end - place.logOffset });
      assert.equal(frame?.crc, crc, `the record at ${place.logOffset} is another`);
    }
    const recount = new ChainFold();
    for (const { fold } of this.#log) fold(recount);
    assert.deepEqual(open.fold.dump(), recount.dump());
    await this.#compareQueues(open);
    await this.#compareIds(open);
    await this.compareIndexes(open);
  }

  /** The confirmed messages are found by their keys, what was said about them by what it is about. */
  async compareIndexes({ store }: OpenStore): Promise<void> {
    const confirmed = this.#log.filter(({ end }) => end <= store.log.confirmOffset);
    const { topicGen } = this;
    for (const key of KEYS) {
      const expected = confirmed.flatMap(({ visible, place }) =>
        visible.flatMap(({ keys, ...one }, item) =>
          one.topicGen === topicGen && keys.includes(key)
            ? [[place.logOffset, item, one.queueId, one.queueOffset]]
            : [],
        ),
      );
      assert.deepEqual(await findByKey(store, { topicGen, key }), expected.reverse(), key);
    }
    const told = new Map<string, { about: About; places: number[] }>();
    for (const { about = [], place } of confirmed) {
      for (const one of about) {
        const key = `${one.hash}/${one.index}`;
        const { places } = told.get(key) ?? { places: [] };
        told.set(key, { about: one, places: [...places, place.logOffset] });
      }
    }
    for (const { about, places } of told.values()) {
      assert.deepEqual(await findOps(store, about), places, JSON.stringify(about));
    }
  }

  async #compareQueues(open: OpenStore): Promise<void> {
    for (const [key, expected] of this.#visibleBelow(open.store.log.end)) {
      const [topicGen, queueId] = key.split("/").map(Number) as [number, number];
      const rows = expected.map((one) => [one.queueOffset, one.bodyLogOffset, one.size]);
      assert.deepEqual(await open.unitsOf(topicGen, queueId), rows, `queue ${key}`);
    }
  }

  async #compareIds({ store: { indexes, log } }: OpenStore): Promise<void> {
    for (const { id, place } of this.#log.slice(-20)) {
      if (id === undefined) continue;
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
      const expected = visible.get(`${topicGen}/${queueId}`)?.length ?? 0;
      assert.equal(queues.find(topicGen, queueId)?.end ?? 0, expected, "visible is confirmed");
    }
  }

  /** By queue, topics dropped below `end` left out. */
  #visibleBelow(end: number): Map<string, Visible[]> {
    const found = new Map<string, Visible[]>();
    const below = this.#log.filter((one) => one.end <= end);
    const dropped = new Set(below.map((one) => one.dropped));
    for (const one of below.flatMap(({ visible }) => visible)) {
      if (dropped.has(one.topicGen)) continue;
      const key = `${one.topicGen}/${one.queueId}`;
      const queue = found.get(key);
      if (queue) queue.push(one);
      else found.set(key, [one]);
    }
    return found;
  }
}

/** The last first: what made it visible, and where it lies in its queue. */
async function findByKey(
  { log, indexes, reader }: MessageStore,
  { topicGen, key }: { readonly topicGen: number; readonly key: string },
): Promise<number[][]> {
  const found: number[][] = [];
  for (const { base } of log.segments.toReversed()) {
    for (let before: KeyEntry | undefined; ; ) {
      const wanted = { topicGen, hash: stableHash(key) };
      const entries = await indexes.keys.find(wanted, { base, before, max: 3 });
      for (const { place, item, queueId, queueOffset } of entries) {
        const { units } = await reader.read({ topicGen, queueId }, { from: queueOffset, max: 1 });
        const frame = await log.readAt(units[0]?.bodyLogOffset ?? -1);
        const keys = frame && decodeMessage(frame.payload)?.index;
        if (keys?.includes(key)) found.push([base + place, item, queueId, queueOffset]);
      }
      before = entries.at(-1);
      if (!before) break;
    }
  }
  return found;
}

async function findOps({ log, indexes }: MessageStore, about: About): Promise<number[]> {
  const found: number[] = [];
  for (const { base } of log.segments) {
    for (let from = base; ; ) {
      const places = await indexes.ops.find(about, { base, from, max: 2 });
      found.push(...places);
      from = (places.at(-1) ?? -1) + 1;
      if (places.length === 0) break;
    }
  }
  return found;
}
