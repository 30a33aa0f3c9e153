/**
 * The filters of the fake broker: the real ones, over a stored message.
 *
 * @module
 */

import type { Filter, StoredMessage } from "../../src/broker/api.ts";
import { compileFilter } from "../../src/filter/mod.ts";

export type Matches = (stored: StoredMessage) => boolean;

/** @throws `filter-invalid` with its `position` */
export function compile(filter: Filter | undefined): Matches {
  if (filter === undefined) return () => true;
  const compiled = compileFilter(filter);
  return ({ payload }) => compiled.matchesPayload(payload);
}
