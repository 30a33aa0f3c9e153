/**
 * How the entities of the fold stand in a snapshot, and in `state` records.
 *
 *   key                                         value
 *   "A"                                         lastGeneration u64
 *   "D" · topic generation u64                  a topic's definition
 *   "E" · topic generation u64 · logOffset u64  a producer's sequence (producers.ts)
 *   "G" · group generation u64                  a group's definition
 *   "H" · topic generation u64                  list of u64: first offset by queue
 *   "L" · group gen · topic gen · queueOffset · queueId u16   a dead letter
 *   "N" · topic generation u64                  list of u64: next offset by queue
 *   "P" · group gen · topic gen · queueId u16   a group's place in one queue
 *   "Q" · producer group generation u64         a producer group's definition
 *   "T" · logOffset u64 of its prepare          a transaction (transactions.ts)
 *
 * Restored in order of key, so topics come before groups, groups before places.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "../../storage/base/bytes.ts";
import { assert } from "../../storage/base/assert.ts";
import { fields, Reader, Writer } from "../../storage/mod.ts";
import type { StoredGroupConfig } from "./definitions.ts";
import type { OpenMessage, PopQueue } from "./pop_queue.ts";

const { bytes32, fixed, list, oneOf, optional, struct, text16, text8, u16, u32, u64 } = fields;

/** A configuration as stored: JSON in UTF-8. */
export function encodeConfig(config: unknown): Uint8Array {
  return encodeUtf8(JSON.stringify(config));
}

let last: { readonly text: string; readonly config: unknown } | undefined;

/**
 * The writer is this build or one that keeps its format: callers trust the shape. A
 * million topics made alike share one configuration, which nobody changes.
 */
export function decodeConfig(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes);
  if (text !== last?.text) last = { text, config: frozen(JSON.parse(text)) };
  return last.config;
}

function frozen(value: unknown): unknown {
  if (typeof value === "object" && value !== null) Object.values(value).forEach(frozen);
  return Object.freeze(value);
}

/** Members that came later have the meaning of their absence. */
export function decodeGroupConfig(bytes: Uint8Array): StoredGroupConfig {
  const config = decodeConfig(bytes) as Partial<StoredGroupConfig>;
  return { mode: "concurrent", paused: false, ...config } as StoredGroupConfig;
}

export const Definition = struct({ name: text8, version: u32, createdAt: u64, config: bytes32 });

export const Offsets = list(u64);

export const Place = struct({
  head: u64,
  expiredUnread: u64,
  taken: list(struct({ first: u64, count: u32 })),
  grantSeq: u64,
  voidedSeq: u64,
  grants: list(
    struct({
      seq: u64,
      nonce: fixed(8),
      attemptId: optional(text8),
      consumerId: optional(text8),
    }),
  ),
  open: list(
    struct({
      queueOffset: u64,
      grantSeq: u64,
      attempt: u16,
      at: u64,
      state: oneOf({ leased: 0, released: 1, redriven: 2 }),
    }),
  ),
});

export function placeOf(queue: PopQueue): fields.Value<typeof Place> {
  const open = [...queue.open.values()];
  return {
    head: queue.head,
    expiredUnread: queue.expiredUnread,
    taken: queue.taken.ranges(),
    grantSeq: queue.grantSeq,
    voidedSeq: queue.voidedSeq,
    grants: [...new Set(open.map((message) => message.grant))],
    open: open.map((message) => {
      const { queueOffset, grant, attempt, at } = message;
      return { queueOffset, grantSeq: grant.seq, attempt, at, state: stateOf(message) };
    }),
  };
}

function stateOf({ redriven, released }: OpenMessage) {
  if (redriven) return "redriven";
  return released ? "released" : "leased";
}

export const Letter = struct({
  attempts: u16,
  cause: oneOf({ attempts: 1, rejected: 2 }),
  reason: text16,
  deadAt: u64,
  grantSeq: u64,
  logOffset: u64,
});

export function write<T>(field: fields.Field<T>, value: T): Uint8Array {
  const writer = new Writer();
  field.write(writer, value);
  return writer.bytes;
}

export function read<T>(field: fields.Field<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = field.read(reader);
  assert(!reader.failed && reader.left === 0, "a snapshot whose checksum held decodes");
  return value;
}

/** A key of `prefix` and generations. */
export function keyOf(
  prefix: string,
  generations: readonly number[] = [],
  queueId?: number,
): Uint8Array {
  const key = new Uint8Array(1 + 8 * generations.length + (queueId === undefined ? 0 : 2));
  const view = viewOf(key);
  key[0] = prefix.charCodeAt(0);
  generations.forEach((generation, i) => setU64(view, 1 + 8 * i, generation));
  if (queueId !== undefined) view.setUint16(1 + 8 * generations.length, queueId);
  return key;
}

export function parseKey(key: Uint8Array): {
  prefix: string;
  generations: number[];
  queueId: number;
} {
  const view = viewOf(key);
  const generations: number[] = [];
  for (let at = 1; at + 8 <= key.length; at += 8) generations.push(getU64(view, at));
  const queueAt = 1 + 8 * generations.length;
  const queueId = queueAt + 2 <= key.length ? view.getUint16(queueAt) : -1;
  return { prefix: String.fromCharCode(key[0] ?? 0), generations, queueId };
}
