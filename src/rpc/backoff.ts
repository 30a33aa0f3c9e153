/**
 * How long to rest between two tries to reach a peer: doubling, with full jitter,
 * so that a crowd of clients does not come back all at once.
 *
 * @module
 */

const FIRST_MS = 100;
const MOST_MS = 5000;

export class Backoff {
  readonly #entropy: (size: number) => Uint8Array;
  #limitMs = FIRST_MS;

  constructor(entropy: (size: number) => Uint8Array) {
    this.#entropy = entropy;
  }

  /** Milliseconds to rest after one more failure. */
  next(): number {
    const [high = 0, low = 0] = this.#entropy(2);
    const restMs = Math.ceil((this.#limitMs * (1 + high * 256 + low)) / 65_536);
    this.#limitMs = Math.min(2 * this.#limitMs, MOST_MS);
    return restMs;
  }

  reset(): void {
    this.#limitMs = FIRST_MS;
  }
}
