/**
 * Errors that tell a position: a broker group tells its own, the reader needs the whole.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";

/** The members of an error that are positions. */
const POSITIONS = ["next", "earliest"] as const;

/** @param whole the position in all broker groups, for one in a single one. */
export function relocated(error: unknown, whole: (own: string) => string): unknown {
  if (!(error instanceof TidegateError)) return error;
  const moved: Record<string, string> = {};
  for (const name of POSITIONS) {
    const own = error.details[name];
    if (typeof own === "string") moved[name] = whole(own);
  }
  if (Object.keys(moved).length === 0) return error;
  return new TidegateError(error.code, error.message, { ...error.details, ...moved }, error);
}
