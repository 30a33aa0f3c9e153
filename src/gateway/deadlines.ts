/**
 * Many deadlines of one length on one timer.
 *
 * Being equally long they end in the order in which they began, so only the
 * oldest needs watching. The timer is not stopped when a deadline is met, as
 * nearly all are: it fires, finds out, and looks at the next. A request thus
 * costs two operations on a set instead of a timer set and cleared.
 *
 * @module
 */

/** Calls `run` once after `ms` milliseconds; the answer cancels it. */
export type After = (ms: number, run: () => void) => () => void;

export interface Deadline {
  readonly endsAt: number;
  readonly expire: () => void;
}

export class Deadlines {
  readonly #ms: number;
  readonly #clock: { now(): number; readonly after: After };
  readonly #open = new Set<Deadline>();
  #armed = false;

  constructor(ms: number, clock: { now(): number; readonly after: After }) {
    this.#ms = ms;
    this.#clock = clock;
  }

  begin(expire: () => void): Deadline {
    const deadline = { endsAt: this.#clock.now() + this.#ms, expire };
    this.#open.add(deadline);
    if (!this.#armed) this.#arm(this.#ms);
    return deadline;
  }

  end(deadline: Deadline): void {
    this.#open.delete(deadline);
  }

  #arm(ms: number): void {
    this.#armed = true;
    this.#clock.after(ms, () => this.#expire());
  }

  #expire(): void {
    this.#armed = false;
    const now = this.#clock.now();
    for (const deadline of this.#open) {
      // At least a millisecond: a clock that steps back must not make this spin.
      if (deadline.endsAt > now) return this.#arm(Math.max(1, deadline.endsAt - now));
      this.#open.delete(deadline);
      deadline.expire();
    }
  }
}
