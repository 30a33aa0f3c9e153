/**
 * The timers of a node that follows: moved on by the reveals its leader decided.
 *
 * A reveal says which messages became visible, not when they were due; their own
 * records do, and have to be read. So the timers are a little behind what is taken in,
 * and whoever asks where they stood is answered once they got there.
 *
 * @module
 */

import type { CommitLog } from "./commit_log.ts";
import type { Frame } from "./frame.ts";
import { KINDS } from "./records/mod.ts";
import type { TimerKey } from "./timer_entry.ts";
import { LastReveals } from "./timer_start.ts";
import type { Timers } from "./timers.ts";

export class FollowedReveals {
  readonly #timers: Timers;
  readonly #log: CommitLog;
  readonly #failed: (error: unknown) => void;
  /** Not yet begun with: takes more. */
  #open: LastReveals | undefined;
  #chain: Promise<void> = Promise.resolve();
  #pending = 0;

  constructor(parts: {
    readonly timers: Timers;
    readonly log: CommitLog;
    failed(error: unknown): void;
  }) {
    this.#timers = parts.timers;
    this.#log = parts.log;
    this.#failed = (error) => parts.failed(error);
  }

  take(frame: Frame): void {
    if (frame.kind !== KINDS.reveal.id) return;
    this.#open ??= this.#enqueue(new LastReveals());
    this.#open.take(frame);
  }

  #enqueue(reveals: LastReveals): LastReveals {
    this.#pending++;
    const resume = () => {
      if (this.#open === reveals) this.#open = undefined;
      const { passed } = this.#timers;
      return reveals.resume(this.#timers, { log: this.#log, passed });
    };
    this.#chain = this.#chain
      .then(resume)
      .catch(this.#failed)
      .finally(() => void this.#pending--);
    return reveals;
  }

  /** Where the timers stand once all that was taken is done with, and nothing that is taken later. */
  get passed(): TimerKey | Promise<TimerKey> {
    if (this.#pending === 0) return this.#timers.passed;
    this.#open = undefined;
    return this.#chain.then(() => this.#timers.passed);
  }
}
