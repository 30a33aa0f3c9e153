/**
 * Time as a port. Cores are handed `now`; only shells hold a clock.
 *
 * @module
 */

export interface Clock {
  /** Milliseconds since the Unix epoch, by the wall clock: it may step. */
  now(): number;
  /**
   * Milliseconds since some moment, by a clock that nobody sets: it never falls
   * and never steps, and counts the time the machine slept.
   */
  elapsed(): number;
  /** Calls `run` once after `delayMs`; the returned function calls it off. */
  after(delayMs: number, run: () => void): () => void;
  /** Calls `run` after the input already waiting has been handled: the end of this event-loop turn. */
  defer(run: () => void): void;
}
