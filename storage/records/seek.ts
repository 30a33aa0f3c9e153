/**
 * A group's position in one queue was set; its leases and retries there are void.
 *
 *   groupGen u64 · topicGen u64 · queueId u16 · to u64 (queueOffset)
 *
 * @module
 */

import { u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const seekKind = defineKind(
  { id: 8, name: "seek" },
  {
    groupGen: u64,
    topicGen: u64,
    queueId: u16,
    to: u64,
  },
);

export type Seek = NonNullable<ReturnType<typeof seekKind.decode>>;
