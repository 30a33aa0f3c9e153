/**
 * Assertions for programmer errors. They stay on in production: a broken
 * invariant ends the process before it reaches the disk.
 *
 * @module
 */

/** Throws when `condition` is false; `what` states what should have held. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new AssertionError(what);
}

/** Marks a place the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}
