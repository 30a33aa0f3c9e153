/**
 * At most so many at once for each key; the others wait in order of arrival.
 *
 * The queue itself has no bound: whoever lets callers in has one, and every
 * wait ends with its signal.
 *
 * @module
 */

type Waiter = () => void;

export class Turns {
  readonly #max: number;
  readonly #taken = new Map<string, number>();
  readonly #waiting = new Map<string, Set<Waiter>>();

  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Waits for a turn.
   *
   * @returns the function that gives the turn back; calling it again does nothing.
   * @throws the signal's reason when it is aborted first.
   */
  async take(key: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const taken = this.#taken.get(key) ?? 0;
    if (taken < this.#max) this.#taken.set(key, taken + 1);
    else await this.#handedOver(key, signal);
    let held = true;
    return () => {
      if (held) this.#giveBack(key);
      held = false;
    };
  }

  /** A turn given back goes to the first who waits without becoming free in between. */
  async #handedOver(key: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting = this.#waiting.get(key) ?? new Set();
    const leave = () => {
      waiting.delete(resolve);
      reject(signal.reason);
    };
    this.#waiting.set(key, waiting.add(resolve));
    signal.addEventListener("abort", leave, { once: true });
    await promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #giveBack(key: string): void {
    const waiting = this.#waiting.get(key);
    const [next] = waiting ?? [];
    if (waiting && next) {
      waiting.delete(next);
      return next();
    }
    this.#waiting.delete(key);
    const taken = (this.#taken.get(key) ?? 0) - 1;
    if (taken > 0) this.#taken.set(key, taken);
    else this.#taken.delete(key);
  }
}
