/**
 * A queue begins later than it did: what lies below `firstOffset` is gone.
 *
 *   topicGen u64 · queueId u16 · firstOffset u64 · cause u8 (1 retention,
 *   2 purge)
 *
 * @module
 */

import { oneOf, u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const headKind = defineKind(
  { id: 15, name: "head" },
  {
    topicGen: u64,
    queueId: u16,
    firstOffset: u64,
    cause: oneOf({ retention: 1, purge: 2 }),
  },
);

export type Head = NonNullable<ReturnType<typeof headKind.decode>>;
