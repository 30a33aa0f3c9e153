/**
 * A group passed messages its filter does not want: the head moved to `to`.
 *
 *   groupGen u64 · topicGen u64 · queueId u16 · to u64 (queueOffset)
 *
 * @module
 */

import { u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const skipKind = defineKind(
  { id: 5, name: "skip" },
  {
    groupGen: u64,
    topicGen: u64,
    queueId: u16,
    to: u64,
  },
);

export type Skip = NonNullable<ReturnType<typeof skipKind.decode>>;
