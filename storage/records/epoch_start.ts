/**
 * A leader began its epoch: the first record it appends.
 *
 *   epoch u32 · leader text8 (node id) · bootId 16 bytes
 *
 * @module
 */

import { fixed, text8, u32 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const epochStartKind = defineKind(
  { id: 21, name: "epoch-start" },
  {
    epoch: u32,
    leader: text8,
    bootId: fixed(16),
  },
);

export type EpochStart = NonNullable<ReturnType<typeof epochStartKind.decode>>;
