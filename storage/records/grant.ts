/**
 * Messages of one queue were leased to a consumer, all with the same attempt
 * number. The nonce is the secret of the receipts.
 *
 *   groupGen u64 · topicGen u64 · queueId u16 · ranges list of (first u64,
 *   count u32) · grantSeq u64 (rises per group and queue) · attempt u16 ·
 *   until u64 (ms) · nonce 8 bytes · attemptId optional(text8) ·
 *   consumerId optional(text8)
 *
 * @module
 */

import { fixed, list, optional, struct, text8, u16, u32, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const grantKind = defineKind(
  { id: 3, name: "grant" },
  {
    groupGen: u64,
    topicGen: u64,
    queueId: u16,
    ranges: list(struct({ first: u64, count: u32 })),
    grantSeq: u64,
    attempt: u16,
    until: u64,
    nonce: fixed(8),
    attemptId: optional(text8),
    consumerId: optional(text8),
  },
);

export type Grant = NonNullable<ReturnType<typeof grantKind.decode>>;
