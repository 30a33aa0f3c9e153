/**
 * What consumers said about leased messages of one queue.
 *
 *   groupGen u64 · topicGen u64 · queueId u16 ·
 *   acked list of (first u64, count u32) ·
 *   timed list of (op u8, queueOffset u64, at u64 ms):
 *     1 release: ready again at `at`, the attempt counts
 *     2 extend:  the lease ends at `at`
 *     3 undo:    ready again at `at`, the attempt does not count, for the grant
 *                never reached its consumer
 *
 * @module
 */

import { list, oneOf, struct, u16, u32, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const settleKind = defineKind(
  { id: 4, name: "settle" },
  {
    groupGen: u64,
    topicGen: u64,
    queueId: u16,
    acked: list(struct({ first: u64, count: u32 })),
    timed: list(
      struct({ op: oneOf({ release: 1, extend: 2, undo: 3 }), queueOffset: u64, at: u64 }),
    ),
  },
);

export type Settle = NonNullable<ReturnType<typeof settleKind.decode>>;
