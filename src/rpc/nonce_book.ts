/**
 * Which signed requests were seen: each counts once.
 *
 *   ── forgotten ──┤ now − window … now … now + window ├── not yet ──
 *                        each nonce is in the book
 *
 * A request whose time is outside of the window is stale, and so is one made
 * before this node started: its nonce may have been in the book that was lost.
 * Two halves take turns, so that forgetting costs nothing. A wall clock that is set
 * back by minutes makes requests count again that were made at that time of day.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";

/** How far the clocks of two nodes may be apart. */
export const WINDOW_MS = 60_000;

const NONCES_MAX = 200_000;

export class NonceBook {
  readonly #clock: Clock;
  readonly #startedAt: number;
  /** Nonces of requests up to here are all in one of the two. */
  #turnAt: number;
  #young = new Set<string>();
  #old = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#turnAt = clock.elapsed() + 2 * WINDOW_MS;
  }

  judge({
    time,
    nonce,
  }: {
    readonly time: number;
    readonly nonce: string;
  }): "ok" | "stale" | "full" {
    const now = this.#clock.now();
    if (Math.abs(now - time) > WINDOW_MS || time < this.#startedAt) return "stale";
    this.#turn();
    if (this.#young.has(nonce) || this.#old.has(nonce)) return "stale";
    if (this.#young.size + this.#old.size >= NONCES_MAX) return "full";
    this.#young.add(nonce);
    return "ok";
  }

  /** A nonce stays for two windows at least: as long as its request may count. */
  #turn(): void {
    const elapsed = this.#clock.elapsed();
    if (elapsed < this.#turnAt) return;
    this.#old = elapsed < this.#turnAt + 2 * WINDOW_MS ? this.#young : new Set();
    this.#young = new Set();
    this.#turnAt = elapsed + 2 * WINDOW_MS;
  }
}
