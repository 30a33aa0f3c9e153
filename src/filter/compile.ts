/**
 * From the text of a filter to what judges messages.
 *
 * @module
 */

import { type CompiledFilter, type Filter, FILTER_LIMITS, filterInvalid } from "./filter.ts";
import { compileSql } from "./sql.ts";
import { compileTags } from "./tags.ts";

/**
 * Compiles a filter; keep the result, or use a {@linkcode FilterCache}.
 *
 * @throws `filter-invalid` with `position`, counting characters from 0.
 */
export function compileFilter(filter: Filter): CompiledFilter {
  const text = "tag" in filter ? filter.tag : filter.sql;
  if (text.length > FILTER_LIMITS.length) {
    throw filterInvalid(
      `it has more than ${FILTER_LIMITS.length} characters`,
      FILTER_LIMITS.length,
    );
  }
  return "tag" in filter ? compileTags(text) : compileSql(text);
}
