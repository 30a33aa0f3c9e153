/**
 * One entity of the fold, described in full, so that the log alone tells it
 * after older segments are gone. Key and value are those of the snapshot.
 *
 *   key bytes8 · value bytes32
 *
 * @module
 */

import { bytes32, bytes8 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const stateKind = defineKind(
  { id: 17, name: "state" },
  {
    key: bytes8,
    value: bytes32,
  },
);

export type State = NonNullable<ReturnType<typeof stateKind.decode>>;
