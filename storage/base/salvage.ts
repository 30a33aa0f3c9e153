/**
 * Reading a file whose medium has bad spots: what can be read is, piece by piece,
 * and zeros stand for the rest. Only for bytes that carry checksums and had been
 * synced: there a spot that cannot be read is damage like any other. Where the log
 * may end, it is not: a bad spot taken for a torn tail would cut what was promised.
 *
 * @module
 */

import type { DiskFile } from "./disk.ts";

/** What a medium loses at once, at least: no more is given up than cannot be read. */
const PIECE_SIZE = 512;

/** The same file. @param below bytes from there on are read or the call fails. */
export function salvaging(file: DiskFile, { below = Infinity } = {}): DiskFile {
  const read = async (target: Uint8Array, position: number): Promise<number> => {
    try {
      return await file.read(target, position);
    } catch (error) {
      if (!isMediumError(error)) throw error;
      return readPieces(file, { target, position, below });
    }
  };
  return {
    read,
    size: () => file.size(),
    write: (bytes, position) => file.write(bytes, position),
    sync: () => file.sync(),
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
  };
}

async function readPieces(
  file: DiskFile,
  range: { readonly target: Uint8Array; readonly position: number; readonly below: number },
): Promise<number> {
  const { target, position, below } = range;
  const length = Math.min(target.length, Math.max(0, (await file.size()) - position));
  for (let at = 0; at < length; ) {
    const aligned = PIECE_SIZE - ((position + at) % PIECE_SIZE);
    const piece = target.subarray(at, Math.min(length, at + aligned));
    try {
      await file.read(piece, position + at);
    } catch (error) {
      if (!isMediumError(error) || position + at + piece.length > below) throw error;
      piece.fill(0);
    }
    at += piece.length;
  }
  return length;
}

function isMediumError(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "EIO";
}
