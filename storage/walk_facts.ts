/**
 * What the walk at a start learns of the log as a whole, frame by frame.
 *
 * @module
 */

import { Epochs } from "./epochs.ts";
import type { Frame } from "./frame.ts";

export class WalkFacts {
  readonly epochs = new Epochs();
  frames = 0;
  lastStoredAt = 0;
  /** The greatest one that a frame speaks of. */
  confirmOffset = 0;
  /** Where the walk began, once it has. */
  from: number | undefined;

  take(frame: Frame): void {
    this.frames++;
    this.lastStoredAt = Math.max(this.lastStoredAt, frame.storedAt);
    this.confirmOffset = Math.max(this.confirmOffset, frame.confirmOffset);
    this.epochs.add(frame.epoch, frame.logOffset);
  }
}
