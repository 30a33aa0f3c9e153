/**
 * The head of a queue leaves for another broker group; nothing is appended to it
 * here any more.
 *
 *   topicGen u64 · queueId u16 · endOffset u64 · toGroup u16
 *
 * @module
 */

import { u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const spanCloseKind = defineKind(
  { id: 19, name: "span-close" },
  {
    topicGen: u64,
    queueId: u16,
    endOffset: u64,
    toGroup: u16,
  },
);

export type SpanClose = NonNullable<ReturnType<typeof spanCloseKind.decode>>;
