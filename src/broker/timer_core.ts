/**
 * The one clock timer behind everything of the broker that falls due by itself:
 * delayed messages and check-backs of transactions. Each kind is a source, which knows
 * when it has something to do next and does a bounded part of it when asked.
 *
 *   armed ──the earliest wakeAt──▶ every source that is due runs once ──▶ armed
 *     ▲                                        │ more is due already
 *     └── arm(): a source changed              └──▶ at the end of the turn, again
 *
 * Between two runs the event loop gets to everything else, so however much is
 * late, it delays nobody by more than one part. Idle, there is one timer, or none.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";

export interface TimerSource {
  /** Leader time; Infinity when there is nothing, or when something else will arm again. */
  readonly wakeAt: number;
  /** Does what is due, a part of it at most. */
  run(now: number): void;
}

/** Some runtimes have no room for longer ones; waking once an hour costs nothing. */
const TIMER_MS_MAX = 3_600_000;

export class TimerCore {
  readonly #clock: Clock;
  readonly #now: () => number;
  readonly #sources: TimerSource[] = [];
  #cancel: () => void = () => {};
  #armedFor = Infinity;
  #deferred = false;
  #stopped = false;

  constructor(clock: Clock, now: () => number) {
    this.#clock = clock;
    this.#now = now;
  }

  add(source: TimerSource): void {
    this.#sources.push(source);
  }

  /** A source may be due at another time than it was. */
  arm(): void {
    if (this.#stopped || this.#deferred) return;
    const wakeAt = Math.min(...this.#sources.map((source) => source.wakeAt));
    if (wakeAt === this.#armedFor) return;
    this.#cancel();
    this.#armedFor = wakeAt;
    if (wakeAt === Infinity) return;
    const delayMs = wakeAt - this.#now();
    if (delayMs > 0) {
      this.#cancel = this.#clock.after(Math.min(delayMs, TIMER_MS_MAX), () => this.#run());
      return;
    }
    this.#deferred = true;
    this.#clock.defer(() => {
      this.#deferred = false;
      this.#run();
    });
  }

  #run(): void {
    if (this.#stopped) return;
    this.#armedFor = Infinity;
    const now = this.#now();
    for (const source of this.#sources) if (source.wakeAt <= now) source.run(now);
    this.arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }
}
