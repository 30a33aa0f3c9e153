/**
 * A check-back was sent, or the transaction was parked after the last one.
 *
 *   txnId text8 · checkNumber u16 (checks sent so far) · outcome u8 (1 sent,
 *   2 parked) · nextCheckAt u64 (ms; 0 when parked)
 *
 * @module
 */

import { oneOf, text8, u16, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const checkKind = defineKind(
  { id: 11, name: "check" },
  {
    txnId: text8,
    checkNumber: u16,
    outcome: oneOf({ sent: 1, parked: 2 }),
    nextCheckAt: u64,
  },
);

export type Check = NonNullable<ReturnType<typeof checkKind.decode>>;
