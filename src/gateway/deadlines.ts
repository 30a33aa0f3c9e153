/**
 * Many deadlines of one length on one timer.
 *
 * Being equally long they end in the order in which they began, so only the
 * oldest needs watching. The timer is not stopped when a deadline is met, as
 * nearly all are: it fires, finds out, and looks at the next.
 *
 *   ring ⇄ oldest ⇄ … ⇄ youngest ⇄ ring
 *
 * Each knows its neighbours, so one that is met leaves without being looked for. A set
 * of them, which hashes each twice and is rebuilt again and again, cost a publish
 * more than a microsecond.
 *
 * @module
 */

/** Calls `run` once after `ms` milliseconds; the answer cancels it. */
export type After = (ms: number, run: () => void) => () => void;

export class Deadline {
  readonly endsAt: number;
  readonly expire: () => void;
  #previous: Deadline = this;
  #next: Deadline = this;

  constructor(endsAt: number, expire: () => void) {
    this.endsAt = endsAt;
    this.expire = expire;
  }

  get next(): Deadline {
    return this.#next;
  }

  /** Takes its place before `other`; it must have none. */
  join(other: Deadline): void {
    this.#previous = other.#previous;
    this.#next = other;
    other.#previous.#next = this;
    other.#previous = this;
  }

  /** Changes nothing for one that has left. */
  leave(): void {
    this.#previous.#next = this.#next;
    this.#next.#previous = this.#previous;
    this.#previous = this;
    this.#next = this;
  }
}

export class Deadlines {
  readonly #ms: number;
  readonly #clock: { now(): number; readonly after: After };
  readonly #ring = new Deadline(Infinity, () => {});
  #armed = false;

  constructor(ms: number, clock: { now(): number; readonly after: After }) {
    this.#ms = ms;
    this.#clock = clock;
  }

  begin(expire: () => void): Deadline {
    const deadline = new Deadline(this.#clock.now() + this.#ms, expire);
    deadline.join(this.#ring);
    if (!this.#armed) this.#arm(this.#ms);
    return deadline;
  }

  end(deadline: Deadline): void {
    deadline.leave();
  }

  #arm(ms: number): void {
    this.#armed = true;
    this.#clock.after(ms, () => this.#expire());
  }

  #expire(): void {
    this.#armed = false;
    const now = this.#clock.now();
    for (let one = this.#ring.next; one !== this.#ring; one = this.#ring.next) {
      // At least a millisecond: a clock that steps back must not make this spin.
      if (one.endsAt > now) return this.#arm(Math.max(1, one.endsAt - now));
      one.leave();
      one.expire();
    }
  }
}
