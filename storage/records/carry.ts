/**
 * A body that something still holds was copied forward before its segment goes.
 * The new bodyLogOffset is that of this record.
 *
 *   oldBodyLogOffset u64 · topicGen u64 · queueId u16 · queueOffset i64 (−1
 *   while deferred) · visibleAt u64 (ms; 0 while deferred) ·
 *   message rest (the payload of the message record, unchanged)
 *
 * @module
 */

import { i64, rest, u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const carryKind = defineKind(
  { id: 16, name: "carry" },
  {
    oldBodyLogOffset: u64,
    topicGen: u64,
    queueId: u16,
    queueOffset: i64,
    visibleAt: u64,
    message: rest,
  },
);

export type Carry = NonNullable<ReturnType<typeof carryKind.decode>>;
