/**
 * SQL filters.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { CompiledFilter } from "./filter.ts";

/** @throws `filter-invalid` */
export function compileSql(_text: string): CompiledFilter {
  throw new TidegateError("not-implemented", "This build does not have SQL filters yet");
}
