/**
 * The door of the filter room: from the text of a filter to a function that
 * judges messages. Pure: no state, no clock, no I/O.
 *
 *   tag expression ─▶ tags.ts ─────────────────────────▶ CompiledFilter
 *   SQL ─▶ lexer.ts ─▶ parser.ts ─▶ check.ts ─▶ sql.ts ─▶
 *
 * @module
 */

export { FilterCache } from "./filter_cache.ts";
export { compileFilter } from "./compile.ts";
export {
  type CompiledFilter,
  type Filter,
  FILTER_LIMITS,
  type Filterable,
  nominates,
} from "./filter.ts";
