/**
 * What a filter is to those who use it.
 *
 * A message is judged in two stages. The first needs the ConsumeQueue unit
 * alone, the hash of the tag, and passes over most of what is not wanted
 * without reading it. The second reads the message and is exact, for two tags
 * may share a hash:
 *
 *   unit ─▶ nominates(filter, unit.tagHash) ─ no ──▶ not wanted
 *              │ yes
 *              ▼
 *           filter.all ─ yes ──▶ wanted
 *              │ no: load the message
 *              ▼
 *           filter.matches(message) or matchesPayload(payload)
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";

/** As requests and group definitions have it (`src/broker/api.ts`). */
export type Filter = { readonly tag: string } | { readonly sql: string };

/** What a filter looks at; a decoded message has it. */
export interface Filterable {
  readonly tag?: string | undefined;
  readonly key?: string | undefined;
  /** Of two with one name, the later one counts. */
  readonly properties: readonly (readonly [name: string, value: string])[];
}

/** Immutable and without state: one may serve any number of readers. */
export interface CompiledFilter {
  /** Every message is wanted (`*`): no message need be looked at. */
  readonly all: boolean;
  /**
   * `stableHash` of every tag a wanted message can have, 0 for none at all, as
   * in the ConsumeQueue unit; undefined when the tag alone tells nothing. See
   * {@linkcode nominates}.
   */
  readonly tagHashes: ReadonlySet<number> | undefined;
  /** Whether the message is wanted; unknown, in three-valued logic, is no. Never throws. */
  matches(message: Filterable): boolean;
  /**
   * The same of an encoded message (storage/base/message.ts), decoding no more
   * than the filter looks at. What is no message is not wanted. Never throws.
   */
  matchesPayload(payload: Uint8Array): boolean;
}

/** Whether a message may be wanted whose unit has this tagHash; a hash only nominates. */
export function nominates({ tagHashes }: CompiledFilter, tagHash: number): boolean {
  return tagHashes === undefined || tagHashes.has(tagHash);
}

/**
 * What protects the node from a filter. The length bounds the number of nodes
 * and of IN items as well, so they have no limits of their own; the depth
 * bounds the stack that parsing and judging need.
 */
export const FILTER_LIMITS = {
  /** Characters of a tag expression or of SQL. */
  length: 4096,
  /** Parentheses and NOTs inside one another. */
  depth: 64,
} as const;

/** @param position where in the text, counting characters from 0. */
export function filterInvalid(fault: string, position: number): TidegateError {
  const detail = `Cannot use the filter: ${fault}, at character ${position}`;
  return new TidegateError("filter-invalid", detail, { position });
}
