/**
 * The head of a queue moved here from another broker group.
 *
 *   topicGen u64 · queueId u16 · firstOffset u64 · fromGroup u16 ·
 *   blockedKeys list of u32 (hashes of keys still open at the old group)
 *
 * @module
 */

import { list, u16, u32, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const spanOpenKind = defineKind(
  { id: 18, name: "span-open" },
  {
    topicGen: u64,
    queueId: u16,
    firstOffset: u64,
    fromGroup: u16,
    blockedKeys: list(u32),
  },
);

export type SpanOpen = NonNullable<ReturnType<typeof spanOpenKind.decode>>;
