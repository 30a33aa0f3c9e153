/**
 * Waiting for several, but not for the slowest: once one has an answer that counts, the
 * others have a moment left.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";

/** @returns the indexes of those that had not answered. Rejects as soon as one of them does. */
export async function mostOf<T>(
  asked: readonly Promise<T>[],
  wish: {
    readonly clock: Clock;
    /** Infinity: all are waited for. */
    readonly graceMs: number;
    counts?(value: T): boolean;
  },
): Promise<readonly number[]> {
  const { clock, graceMs, counts = () => true } = wish;
  const late = new Set(asked.keys());
  let cancel: (() => void) | undefined;
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const all = asked.map(async (one, i) => {
    const value = await one;
    late.delete(i);
    if (graceMs < Infinity && counts(value)) cancel ??= clock.after(graceMs, resolve);
  });
  try {
    await Promise.race([Promise.all(all), over]);
  } finally {
    cancel?.();
  }
  return [...late];
}
