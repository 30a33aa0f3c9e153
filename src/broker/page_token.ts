/**
 * The tokens of pages that go on where one ended. Opaque to readers, in base32hex as cursors are.
 *
 *   search  3 u8 · topicGen u64 · query u32 · logOffset u64 · rank u32 · queueOffset u64
 *   trace   4 u8 · topicGen u64 · bodyLogOffset u64 · logOffset u64 · queueOffset i64, −1: not visible
 *           so far
 *
 * A token names the topic's generation, and what was asked: with another question it means nothing.
 *
 * @module
 */

import { getI64, getU64, setI64, setU64, viewOf } from "../../storage/base/bytes.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { SearchRequest } from "./api.ts";
import { fromBase32, toBase32 } from "./base32.ts";
import type { TopicState } from "./topics.ts";

/** A search goes on with what became visible before this: an order of all that is visible. */
export interface SearchPosition {
  /** Of the record that made it visible. */
  readonly logOffset: number;
  /** Among what the record made visible: the item for a search by key, else the queueId. */
  readonly rank: number;
  /** The last of the order; 0 for a search by key. */
  readonly queueOffset: number;
}

/** Below 0: `a` became visible before `b`. */
export function compareSearchPositions(a: SearchPosition, b: SearchPosition): number {
  return a.logOffset - b.logOffset || a.rank - b.rank || a.queueOffset - b.queueOffset;
}

const SEARCH = 3;
const SEARCH_SIZE = 33;

function queryHash({ index, from, to }: SearchRequest): number {
  return stableHash(JSON.stringify([index ?? null, from ?? null, to ?? null]));
}

export function encodeSearchToken(
  position: SearchPosition,
  { topic, request }: { readonly topic: TopicState; readonly request: SearchRequest },
): string {
  const bytes = new Uint8Array(SEARCH_SIZE);
  const view = viewOf(bytes);
  bytes[0] = SEARCH;
  setU64(view, 1, topic.generation);
  view.setUint32(9, queryHash(request));
  setU64(view, 13, position.logOffset);
  view.setUint32(21, position.rank);
  setU64(view, 25, position.queueOffset);
  return toBase32(bytes);
}

/** @throws `invalid-cursor`, `cursor-generation` */
export function decodeSearchToken(
  token: string,
  { topic, request }: { readonly topic: TopicState; readonly request: SearchRequest },
): SearchPosition {
  const view = viewOfToken(token, { kind: SEARCH, size: SEARCH_SIZE });
  checkGeneration(view, topic);
  if (view.getUint32(9) !== queryHash(request)) {
    const detail = "Cannot go on from the page token: it is of another search";
    throw new TidegateError("invalid-cursor", detail);
  }
  return {
    logOffset: getU64(view, 13),
    rank: view.getUint32(21),
    queueOffset: getU64(view, 25),
  };
}

/** A trace goes on with the records from a place in the log on. */
export interface TracePosition {
  /** Of the message. */
  readonly bodyLogOffset: number;
  readonly logOffset: number;
  /** Where the message lies in its queue, as far as the records before told. */
  readonly queueOffset: number | undefined;
}

const TRACE = 4;
const TRACE_SIZE = 33;

export function encodeTraceToken(position: TracePosition, { generation }: TopicState): string {
  const bytes = new Uint8Array(TRACE_SIZE);
  const view = viewOf(bytes);
  bytes[0] = TRACE;
  setU64(view, 1, generation);
  setU64(view, 9, position.bodyLogOffset);
  setU64(view, 17, position.logOffset);
  setI64(view, 25, position.queueOffset ?? -1);
  return toBase32(bytes);
}

/** @throws `invalid-cursor`, `cursor-generation` */
export function decodeTraceToken(token: string, topic: TopicState): TracePosition {
  const view = viewOfToken(token, { kind: TRACE, size: TRACE_SIZE });
  checkGeneration(view, topic);
  const queueOffset = getI64(view, 25);
  return {
    bodyLogOffset: getU64(view, 9),
    logOffset: getU64(view, 17),
    queueOffset: queueOffset === -1 ? undefined : queueOffset,
  };
}

function viewOfToken(token: string, { kind, size }: { kind: number; size: number }): DataView {
  const bytes = fromBase32(token);
  if (bytes?.length === size && bytes[0] === kind) return viewOf(bytes);
  throw new TidegateError("invalid-cursor", "Cannot read the page token: it is not one of ours");
}

function checkGeneration(view: DataView, { name, generation }: TopicState): void {
  if (getU64(view, 1) === generation) return;
  const detail = `Cannot go on in "${name}" from the page token: it is of an earlier topic of this name`;
  throw new TidegateError("cursor-generation", detail);
}
