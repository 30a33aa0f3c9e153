/**
 * A delayed message was taken back before it was due.
 *
 *   topicGen u64 · bodyLogOffset u64
 *
 * @module
 */

import { u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const recallKind = defineKind(
  { id: 12, name: "recall" },
  {
    topicGen: u64,
    bodyLogOffset: u64,
  },
);

export type Recall = NonNullable<ReturnType<typeof recallKind.decode>>;
