/**
 * The outbox: the target broker group has everything up to `outSeq`.
 *
 *   target u16 (broker group) · outSeq u64
 *
 * @module
 */

import { u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const sentKind = defineKind(
  { id: 20, name: "sent" },
  {
    target: u16,
    outSeq: u64,
  },
);

export type Sent = NonNullable<ReturnType<typeof sentKind.decode>>;
