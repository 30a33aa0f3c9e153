/**
 * Writing all of it, though the system may take less at a time.
 *
 * @module
 */

import { NoRoom } from "./disk.ts";

/** @param some writes what it can of the bytes from `from` on; returns how many it took. */
export function writeFully(size: number, some: (from: number) => number): void {
  for (let done = 0; done < size; ) {
    const count = some(done);
    if (count <= 0) throw new NoRoom(`Cannot write: the system took ${count} bytes`);
    done += count;
  }
}
