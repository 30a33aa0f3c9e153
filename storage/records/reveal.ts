/**
 * Deferred messages become visible, together: because they are due, or because
 * their transaction was committed. Gives each its queueOffset; the consume queue
 * lists the message under the log offset of this record.
 *
 *   cause u8 (1 due, 2 commit) · txnId optional(text8) · items list of
 *     bodyLogOffset u64 · size u32 (of the body's frame) · topicGen u64 ·
 *     queueId u16 · queueOffset u64 · keyHash u32 · tagHash u32
 *
 * @module
 */

import { list, oneOf, optional, struct, text8, u16, u32, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const revealKind = defineKind(
  { id: 2, name: "reveal" },
  {
    cause: oneOf({ due: 1, commit: 2 }),
    txnId: optional(text8),
    items: list(
      struct({
        bodyLogOffset: u64,
        size: u32,
        topicGen: u64,
        queueId: u16,
        queueOffset: u64,
        keyHash: u32,
        tagHash: u32,
      }),
    ),
  },
);

export type Reveal = NonNullable<ReturnType<typeof revealKind.decode>>;
