/**
 * The ops table of one segment: which records in it say something about which messages.
 *
 *   entry  hash u32 (of what it is about, below) · place u32 (of the record in the segment) ·
 *          kind u8, zero u8, first u8, last u8 (within the block)
 *
 *   about a block     256 consecutive queueOffsets of a queue: grant, settle, dead, redrive; `first`
 *                     and `last` bound those it names
 *   about a queue     all of it: seek
 *   about a body      a deferred message, by its bodyLogOffset: reveal, recall
 *   about a transaction, by its id: prepare, decide, check
 *
 * So what happened to a message is found without looking at what happened to others, and without
 * a table per queue. An entry only nominates: whoever asks reads the record.
 *
 * @module
 */

import { getU64 } from "./base/bytes.ts";
import { scopedHash, stableHash } from "./base/hash.ts";
import type { Frame } from "./frame.ts";
import type { HashTable } from "./hash_table.ts";
import { KINDS } from "./records/mod.ts";

export const BLOCK_OFFSETS = 256;

interface QueuePlace {
  readonly topicGen: number;
  readonly queueId: number;
}

/** What entries are looked up by; of a block, those that may name `index` in it. */
export interface About {
  readonly hash: number;
  readonly index?: number;
}

/** About the message at a queueOffset. */
export function aboutOffset(queue: QueuePlace, queueOffset: number): About {
  const block = Math.floor(queueOffset / BLOCK_OFFSETS);
  return { hash: blockHash(queue, block), index: queueOffset % BLOCK_OFFSETS };
}

export function aboutQueue({ topicGen, queueId }: QueuePlace): About {
  return { hash: scopedHash(topicGen, scopedHash(queueId, WHOLE_QUEUE)) };
}

export function aboutBody(bodyLogOffset: number): About {
  return { hash: scopedHash(bodyLogOffset, BODY) };
}

export function aboutTransaction(txnId: string): About {
  return { hash: stableHash(txnId) };
}

const WHOLE_QUEUE = 0xffff_ffff;
const BODY = 0x626f_6479;

function blockHash({ topicGen, queueId }: QueuePlace, block: number): number {
  return scopedHash(topicGen, scopedHash(queueId, block >>> 0));
}

/** Takes one confirmed frame of the segment at `base` into its table. */
export function indexOps(frame: Frame, { table, base }: { table: HashTable; base: number }): void {
  const { kind } = frame;
  if (kind === MESSAGE) return; // nearly every frame
  const place = frame.logOffset - base;
  const put = ({ hash }: About) => table.push(hash, place, kind << 24);
  if (kind === GRANT || kind === SETTLE) indexInPlace(frame, { table, place });
  else if (kind === KINDS.dead.id) {
    const record = KINDS.dead.decode(frame.payload);
    const offsets = record?.items.map(({ queueOffset }) => queueOffset);
    if (record && offsets) indexOffsets(record, { table, place, kind, offsets });
  } else if (kind === KINDS.redrive.id) {
    const record = KINDS.redrive.decode(frame.payload);
    if (record) indexOffsets(record, { table, place, kind, offsets: record.offsets });
  } else if (kind === KINDS.seek.id) {
    const record = KINDS.seek.decode(frame.payload);
    if (record) put(aboutQueue(record));
  } else if (kind === KINDS.reveal.id) {
    for (const { bodyLogOffset } of KINDS.reveal.decode(frame.payload)?.items ?? []) {
      put(aboutBody(bodyLogOffset));
    }
  } else if (kind === KINDS.recall.id) {
    const record = KINDS.recall.decode(frame.payload);
    if (record) put(aboutBody(record.bodyLogOffset));
  } else {
    const txnId = txnIdIn(frame);
    if (txnId !== undefined) put(aboutTransaction(txnId));
  }
}

const MESSAGE = KINDS.message.id;
const GRANT = KINDS.grant.id;
const SETTLE = KINDS.settle.id;

function txnIdIn({ kind, payload }: Frame): string | undefined {
  if (kind === KINDS.prepare.id) return KINDS.prepare.decode(payload)?.txnId;
  if (kind === KINDS.decide.id) return KINDS.decide.decode(payload)?.txnId;
  return kind === KINDS.check.id ? KINDS.check.decode(payload)?.txnId : undefined;
}

interface Into {
  readonly table: HashTable;
  readonly place: number;
}

function indexOffsets(
  queue: QueuePlace,
  { offsets, kind, ...into }: Into & { readonly kind: number; readonly offsets: readonly number[] },
): void {
  const blocks = new Blocks(queue, { ...into, kind });
  for (const offset of offsets) blocks.add(offset, 1);
  blocks.end();
}

/**
 * A grant or a settle, of which there are as many as messages: read where it lies. Both begin with
 * groupGen u64 · topicGen u64 · queueId u16 · list of (first u64, count u32).
 */
function indexInPlace(frame: Frame, into: Into): void {
  const { view, payloadAt, kind } = frame;
  const end = frame.at + frame.size;
  let at = payloadAt + 22;
  if (at > end) return;
  const queue = { topicGen: getU64(view, payloadAt + 8), queueId: view.getUint16(payloadAt + 16) };
  const blocks = new Blocks(queue, { ...into, kind });
  for (let left = view.getUint32(payloadAt + 18); left > 0 && at + 12 <= end; left--, at += 12) {
    blocks.add(getU64(view, at), view.getUint32(at + 8));
  }
  if (kind === SETTLE && at + 4 <= end) {
    let left = view.getUint32(at); // of (op u8, queueOffset u64, at u64)
    for (at += 4; left > 0 && at + 17 <= end; left--, at += 17) {
      blocks.add(getU64(view, at + 1), 1);
    }
  }
  blocks.end();
}

/** Of a record's offsets, one entry per block that they come to, one after the other. */
class Blocks {
  readonly #queue: QueuePlace;
  readonly #into: Into & { readonly kind: number };
  #block = -1;
  #first = 0;
  #last = 0;

  constructor(queue: QueuePlace, into: Into & { readonly kind: number }) {
    this.#queue = queue;
    this.#into = into;
  }

  add(first: number, count: number): void {
    const end = first + count;
    for (let from = first; from < end; ) {
      const block = Math.floor(from / BLOCK_OFFSETS);
      const to = Math.min(end, (block + 1) * BLOCK_OFFSETS);
      this.#touch(block, { first: from % BLOCK_OFFSETS, last: (to - 1) % BLOCK_OFFSETS });
      from = to;
    }
  }

  #touch(block: number, { first, last }: { first: number; last: number }): void {
    if (block !== this.#block) {
      this.end();
      this.#block = block;
      this.#first = first;
      this.#last = last;
    } else {
      this.#first = Math.min(this.#first, first);
      this.#last = Math.max(this.#last, last);
    }
  }

  end(): void {
    if (this.#block < 0) return;
    const { table, place, kind } = this.#into;
    const detail = ((kind << 24) | (this.#first << 8) | this.#last) >>> 0;
    table.push(blockHash(this.#queue, this.#block), place, detail);
    this.#block = -1;
  }
}

/** Whether an entry that was found for `about` may name what it asks for. */
export function mayName(detail: number, { index }: About): boolean {
  return index === undefined || (((detail >>> 8) & 0xff) <= index && index <= (detail & 0xff));
}
