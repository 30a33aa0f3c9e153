/**
 * The page of a log read while it is filled: which messages it takes, and when
 * it is full.
 *
 * @module
 */

import { stableHash } from "../../storage/base/hash.ts";
import type { ReadRequest } from "./api.ts";
import type { Visible } from "./bodies.ts";
import type { Position } from "./reading.ts";

/** Messages a page looks at, at most, when it seeks those of one key. */
export const SCAN_MAX = 20_000;

const READ_AHEAD = { min: 16, max: 1000, scan: 256 } as const;

/** Units to read at once per queue: few more than a page takes when its queues share the load. */
export function readAhead({ limit, key }: ReadRequest, queues: number): number {
  const fair = key === undefined ? Math.ceil((2 * limit) / queues) : READ_AHEAD.scan;
  return Math.min(READ_AHEAD.max, Math.max(READ_AHEAD.min, fair));
}

/** A message of the page and the position after it. */
export interface Taken {
  readonly visible: Visible;
  readonly after: Position;
}

/** Fills a page up to its limits, leaving out what is not of the key. */
export class PageBuilder {
  readonly taken: Taken[] = [];
  readonly #limit: number;
  readonly #keyHash: number | undefined;
  #bytesLeft: number;
  #scanLeft = SCAN_MAX;

  constructor(request: ReadRequest) {
    this.#limit = request.limit;
    this.#bytesLeft = request.maxBytes;
    this.#keyHash = request.key === undefined ? undefined : stableHash(request.key);
  }

  get full(): boolean {
    return this.taken.length >= this.#limit || this.#bytesLeft <= 0 || this.#scanLeft <= 0;
  }

  /** Returns false when the page must end before this one. */
  take(visible: Visible, after: Position): boolean {
    if (this.full) return false;
    const { unit } = visible;
    this.#scanLeft--;
    if (this.#keyHash !== undefined && unit.keyHash !== this.#keyHash) return true;
    if (unit.size > this.#bytesLeft && this.taken.length > 0) {
      this.#bytesLeft = 0;
      return false;
    }
    this.#bytesLeft -= unit.size;
    this.taken.push({ visible, after });
    return true;
  }
}
