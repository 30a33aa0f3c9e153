/**
 * A transaction began. Its half messages are the `deferred` message records
 * before it in the same unit.
 *
 *   txnId text8 · producerGroup text8 · checkUrl optional(text16) ·
 *   firstCheckMs u32 · checkIntervalMs u32 · maxChecks u16 ·
 *   bodies list of u64 (bodyLogOffset)
 *
 * @module
 */

import { list, optional, text16, text8, u16, u32, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const prepareKind = defineKind(
  { id: 9, name: "prepare" },
  {
    txnId: text8,
    producerGroup: text8,
    checkUrl: optional(text16),
    firstCheckMs: u32,
    checkIntervalMs: u32,
    maxChecks: u16,
    bodies: list(u64),
  },
);

export type Prepare = NonNullable<ReturnType<typeof prepareKind.decode>>;
