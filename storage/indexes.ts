/**
 * What is found of messages beside their queues: by id, by index key, and what records say about
 * them. Each has a table per young segment in memory, and a section in the sidecars of sealed ones.
 *
 * Invariant: only confirmed frames are in them, each once.
 *
 * @module
 */

import type { Frame } from "./frame.ts";
import { IdIndex } from "./id_index.ts";
import { KeyIndex } from "./key_index.ts";
import { OpIndex } from "./op_index.ts";
import type { SidecarFile } from "./sidecar_file.ts";
import type { Sidecars } from "./sidecars.ts";

export class Indexes {
  readonly ids = new IdIndex();
  readonly keys = new KeyIndex();
  readonly ops = new OpIndex();

  open(sidecars: Sidecars): void {
    for (const index of [this.ids, this.keys, this.ops]) index.open(sidecars);
  }

  /** Takes in one confirmed frame of the segment at `base`. */
  apply(frame: Frame, base: number): void {
    this.ids.apply(frame, base);
    this.keys.apply(frame, base);
    this.ops.apply(frame, base);
  }

  /** There is a sidecar of a sealed segment; memory may go on answering for it. */
  know(sidecar: SidecarFile): void {
    this.keys.know(sidecar);
  }

  /** The sidecar answers for this segment from now on. */
  release(base: number): void {
    for (const index of [this.ids, this.keys, this.ops]) index.release(base);
  }

  /** The log starts at `start`, a segment's base. */
  forgetBefore(start: number): void {
    this.keys.forgetBefore(start);
  }
}
