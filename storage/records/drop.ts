/**
 * A topic, consumer group or producer group was deleted.
 *
 *   entity u8 (as in `define`) · generation u64 · name text8
 *
 * @module
 */

import { oneOf, text8, u64 } from "./fields.ts";
import { defineKind } from "./kind.ts";

export const dropKind = defineKind(
  { id: 14, name: "drop" },
  {
    entity: oneOf({ topic: 1, group: 2, producerGroup: 3 }),
    generation: u64,
    name: text8,
  },
);

export type Drop = NonNullable<ReturnType<typeof dropKind.decode>>;
