/**
 * Dead letters of one queue became ready again for their group, attempt 1, or
 * were dropped from the list.
 *
 *   groupGen u64 · topicGen u64 · queueId u16 · action u8 (1 ready, 2 drop) ·
 *   offsets list of u64 (queueOffset)
 *
 * @module
 */

import { list, oneOf, u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const redriveKind = defineKind(
  { id: 7, name: "redrive" },
  {
    groupGen: u64,
    topicGen: u64,
    queueId: u16,
    action: oneOf({ ready: 1, drop: 2 }),
    offsets: list(u64),
  },
);

export type Redrive = NonNullable<ReturnType<typeof redriveKind.decode>>;
