/**
 * How long a node may believe in its own lease.
 *
 * The coordinator counts from when it received the last keep-alive, which is
 * after it was sent, by a clock that may run faster than ours. So we count from
 * when it was sent, assume some drift, and stop a little early for what happens
 * between the check and the answer it allows. All of it by the clock that nobody
 * sets.
 *
 * @module
 */

/** Of the two clocks against each other, at most. */
const DRIFT = 0.01;
const MARGIN_MS = 300;

export const LEASE_TTL_MS = 3000;
export const KEEP_ALIVE_MS = 1000;

/** Until when, on the axis of `sentAt`, the lease surely holds. */
export function leaseDeadline(keepAlive: {
  readonly sentAt: number;
  readonly ttlMs: number;
}): number {
  return keepAlive.sentAt + keepAlive.ttlMs * (1 - DRIFT) - MARGIN_MS;
}
