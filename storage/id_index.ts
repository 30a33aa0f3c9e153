/**
 * Where a message with a given id may lie: a table per young segment in memory,
 * the sidecars of the sealed ones.
 *
 *   entry  hash u32 (of the id) · place u32 (in the segment)
 *
 * A hash only nominates: whoever asks compares the id and the topic in the
 * message itself.
 *
 * @module
 */

import { messageIdHash } from "./base/message.ts";
import type { Frame } from "./frame.ts";
import { WORDS } from "./hash_section.ts";
import { HashTable } from "./hash_table.ts";
import { NO_SIDECARS, type Sidecars, withSidecar } from "./sidecars.ts";
import { messageIn } from "./stored_message.ts";

/** Takes one frame of the segment at `base` into its table. */
export function indexId(frame: Frame, { table, base }: { table: HashTable; base: number }): void {
  const message = messageIn(frame);
  const hash = message && messageIdHash(frame, message);
  if (hash !== undefined) table.push(hash, frame.logOffset - base);
}

export class IdIndex {
  readonly #young = new Map<number, HashTable>();
  #sidecars: Sidecars = NO_SIDECARS;

  open(sidecars: Sidecars): void {
    this.#sidecars = sidecars;
  }

  /** Takes in one confirmed frame of the segment at `base`. */
  apply(frame: Frame, base: number): void {
    let table = this.#young.get(base);
    if (!table) {
      table = new HashTable(WORDS.ids);
      this.#young.set(base, table);
    }
    indexId(frame, { table, base });
  }

  /** logOffsets in the segment at `base` of messages whose id has this hash, newest first. */
  async find(hash: number, base: number): Promise<number[]> {
    const young = this.#young.get(base);
    const places = young
      ? [...young.find(hash)].map((entry) => young.word(entry, 1))
      : await withSidecar(this.#sidecars, base, (sidecar) => sidecar.findIds(hash));
    return (places ?? []).map((place) => base + place);
  }

  /** The sidecar answers for this segment from now on. */
  release(base: number): void {
    this.#young.delete(base);
  }
}
