/**
 * Messages of one queue became dead letters of a group; `storedAt` says when.
 *
 *   groupGen u64 · topicGen u64 · queueId u16 · items list of
 *     queueOffset u64 · attempts u16 · cause u8 (1 attempts used up,
 *     2 rejected) · reason text16 (the consumer's words, or empty)
 *
 * @module
 */

import { list, oneOf, struct, text16, u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const deadKind = defineKind(
  { id: 6, name: "dead" },
  {
    groupGen: u64,
    topicGen: u64,
    queueId: u16,
    items: list(
      struct({
        queueOffset: u64,
        attempts: u16,
        cause: oneOf({ attempts: 1, rejected: 2 }),
        reason: text16,
      }),
    ),
  },
);

export type Dead = NonNullable<ReturnType<typeof deadKind.decode>>;
