/**
 * When the checkpoint is written: a second after the log moved, and when somebody
 * needs it to be. One write at a time, in order of call.
 *
 * @module
 */

import type { Clock } from "./base/clock.ts";
import type { Checkpoint, CheckpointFile } from "./checkpoint.ts";

/** Between two checkpoints while the log moves, at most. */
const CHECKPOINT_INTERVAL_MS = 1000;

type Next = Omit<Checkpoint, "sequence" | "failed">;

export class Checkpointing {
  readonly #file: CheckpointFile;
  readonly #clock: Clock;
  /** Where the log stands now; undefined once its disk has failed. */
  readonly #next: () => Next | undefined;
  readonly #failed: (error: unknown) => void;
  #cancel: (() => void) | undefined;
  #writing: Promise<boolean> = Promise.resolve(true);

  constructor(
    file: CheckpointFile,
    ports: {
      readonly clock: Clock;
      next(): Next | undefined;
      failed(error: unknown): void;
    },
  ) {
    this.#file = file;
    this.#clock = ports.clock;
    this.#next = () => ports.next();
    this.#failed = (error) => ports.failed(error);
  }

  /** The log moved. */
  soon(): void {
    this.#cancel ??= this.#clock.after(CHECKPOINT_INTERVAL_MS, () => {
      this.#cancel = undefined;
      void this.write();
    });
  }

  /** Resolves to whether the place where the log stands now is durable. */
  write(place = this.#next()): Promise<boolean> {
    this.#writing = this.#writing.then(() => this.#write(place));
    return this.#writing;
  }

  async #write(place: Next | undefined): Promise<boolean> {
    if (!place || !this.#next()) return false;
    try {
      await this.#file.write(place);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  async close(): Promise<void> {
    this.#cancel?.();
    await this.write();
    await this.#file.close();
  }
}
