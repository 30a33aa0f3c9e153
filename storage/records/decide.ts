/**
 * A transaction was decided. The first decision in log order wins.
 *
 *   txnId text8 · decision u8 (1 commit, 2 rollback) · by u8 (1 producer,
 *   2 check-back, 3 operator)
 *
 * @module
 */

import { oneOf, text8 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const decideKind = defineKind(
  { id: 10, name: "decide" },
  {
    txnId: text8,
    decision: oneOf({ commit: 1, rollback: 2 }),
    by: oneOf({ producer: 1, check: 2, operator: 3 }),
  },
);

export type Decide = NonNullable<ReturnType<typeof decideKind.decode>>;
