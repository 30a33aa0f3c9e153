/**
 * The KeyIndex of one segment: which messages that became visible in it have which index keys.
 *
 *   entry  hash u32 (of the key, in the topic's generation) · place u32 (of the record that made the
 *          message visible: its own, or a reveal) · queueId u16, item u16 (which of the reveal's) ·
 *          queueOffset u64
 *
 * So what is found is what readers see, in the order in which it became visible. A deferred message
 * is *held*: its keys wait here, by its place, for the reveal. A reveal of a body in a segment that
 * is sealed finds them there no more: then it is listed as *open*, under a hash that stands for any
 * key of the topic, and whoever searches looks at the message itself. The sidecar has no open
 * entries: who builds it reads the bodies (reveal_keys.ts).
 *
 * A hash only nominates: whoever asks compares the keys in the message.
 *
 * @module
 */

import { scopedHash } from "./base/hash.ts";
import { MessageFields } from "./base/message.ts";
import { indexKeyHashes } from "./base/message_keys.ts";
import { FLAG_DEFERRED, type Frame } from "./frame.ts";
import { WORDS } from "./hash_section.ts";
import { HashTable } from "./hash_table.ts";
import type { RecordOf } from "./records/mod.ts";
import { messageIn } from "./stored_message.ts";

/** Of the log order of what is visible: by record, then by its items. */
export interface KeyPlace {
  /** logOffset − base of the segment. */
  readonly place: number;
  readonly item: number;
}

export interface KeyEntry extends KeyPlace {
  readonly queueId: number;
  readonly queueOffset: number;
}

export type RevealItem = RecordOf<"reveal">["items"][number];

/** What the keys of a body are known to be: their hashes; undefined when they have to be read. */
export type HeldKeys = (bodyLogOffset: number) => readonly number[] | undefined;

const TWO_32 = 2 ** 32;

export class KeyTable {
  readonly base: number;
  readonly entries = new HashTable(WORDS.keys);
  readonly #held = new Map<number, readonly number[]>();

  constructor(base: number) {
    this.base = base;
  }

  /** Deferred messages of the segment that have index keys. */
  get heldCount(): number {
    return this.#held.size;
  }

  /** The `stableHash` of each index key of a deferred message of this segment. */
  heldBy(bodyLogOffset: number): readonly number[] | undefined {
    return this.#held.get(bodyLogOffset);
  }

  /** Takes in a message of the segment; one that was copied forward waits still, or was removed. */
  applyMessage(frame: Frame): void {
    const message = messageIn(frame);
    const hashes = message ? indexKeyHashes(frame, message) : [];
    if (!message || hashes.length === 0) return;
    const { view, logOffset } = frame;
    const { at: payloadAt, queueOffset, carried } = message;
    if (carried ? queueOffset === -1 : (frame.flags & FLAG_DEFERRED) !== 0) {
      this.#held.set(logOffset, hashes);
      return;
    }
    if (carried) return;
    const topicGen = MessageFields.topicGen(view, payloadAt);
    const queueId = MessageFields.queueId(view, payloadAt);
    const at = { place: logOffset - this.base, item: 0, queueId, queueOffset };
    for (const hash of hashes) this.#push(scopedHash(topicGen, hash), at);
  }

  /** Takes in what a reveal in the segment, at `logOffset`, made visible. */
  applyReveal(items: readonly RevealItem[], logOffset: number, keysOf: HeldKeys): void {
    for (const [item, { bodyLogOffset, topicGen, queueId, queueOffset }] of items.entries()) {
      const at = { place: logOffset - this.base, item, queueId, queueOffset };
      const hashes = keysOf(bodyLogOffset) ?? [ANY_KEY];
      for (const hash of hashes) this.#push(scopedHash(topicGen, hash), at);
    }
  }

  #push(hash: number, { place, item, queueId, queueOffset }: KeyEntry): void {
    const where = ((queueId << 16) | (item & 0xffff)) >>> 0;
    this.entries.push(hash, place, where, Math.floor(queueOffset / TWO_32), queueOffset >>> 0);
  }
}

/** No key has this hash: it stands for all. */
const ANY_KEY = 0;

/** The hashes under which messages of a topic with a key are listed: that of the key, and of open ones. */
export function hashesOf(topicGen: number, keyHash: number): readonly [number, number] {
  return [scopedHash(topicGen, keyHash), scopedHash(topicGen, ANY_KEY)];
}

export function readKeyEntry(
  source: { word(entry: number, index: number): number },
  entry: number,
): KeyEntry {
  const where = source.word(entry, 2);
  return {
    place: source.word(entry, 1),
    item: where & 0xffff,
    queueId: where >>> 16,
    queueOffset: source.word(entry, 3) * TWO_32 + source.word(entry, 4),
  };
}

/** Below 0: `a` became visible before `b`. */
export function compareKeyPlaces(a: KeyPlace, b: KeyPlace): number {
  return a.place - b.place || a.item - b.item;
}
