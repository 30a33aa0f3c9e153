/**
 * The index keys of a message, read in its payload where they lie: what the KeyIndex needs of it.
 *
 * @module
 */

import { stableHashBytes } from "./hash.ts";
import { attributesAt, type PayloadRange, type PayloadSource } from "./message.ts";
import { TAG } from "./message_attributes.ts";

/** `stableHash` of each index key of the payload in `[at, end)`, each hash once. */
export function indexKeyHashes(
  source: PayloadSource,
  { at, end }: PayloadRange,
): readonly number[] {
  const { bytes, view } = source;
  const first = attributesAt(source, { at, end });
  if (first === undefined) return NO_HASHES;
  let hashes: number[] | undefined;
  const attributesEnd = Math.min(end, first + view.getUint32(at + 36));
  for (let next = first; next + 3 <= attributesEnd; ) {
    const tag = bytes[next] as number;
    if (tag > TAG.index) break; // they are in order
    const from = next + 3;
    next = from + view.getUint16(from - 2);
    if (tag !== TAG.index || next > attributesEnd) continue;
    const hash = stableHashBytes(bytes, { from, to: next });
    if (!hashes) hashes = [hash];
    else if (!hashes.includes(hash)) hashes.push(hash);
  }
  return hashes ?? NO_HASHES;
}

const NO_HASHES: readonly number[] = [];
