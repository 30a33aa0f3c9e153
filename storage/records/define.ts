/**
 * A topic, consumer group or producer group was made or changed; the newest
 * version of a generation holds.
 *
 *   entity u8 (1 topic, 2 group, 3 producer group) · generation u64 ·
 *   version u32 (1 when made) · createdAt u64 (ms) · name text8 ·
 *   config bytes32 (JSON)
 *
 * @module
 */

import { bytes32, oneOf, text8, u32, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const defineRecordKind = defineKind(
  { id: 13, name: "define" },
  {
    entity: oneOf({ topic: 1, group: 2, producerGroup: 3 }),
    generation: u64,
    version: u32,
    createdAt: u64,
    name: text8,
    config: bytes32,
  },
);

export type Define = NonNullable<ReturnType<typeof defineRecordKind.decode>>;
