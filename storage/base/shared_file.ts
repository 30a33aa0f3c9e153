/**
 * A file that many read from and that goes one day: it is closed once nobody reads
 * from it, so no read ever meets a descriptor that is another file's by then.
 *
 * @module
 */

import type { DiskFile } from "./disk.ts";

export class SharedFile implements DiskFile {
  readonly #file: DiskFile;
  #reading = 0;
  #retired = false;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  size(): Promise<number> {
    return this.#file.size();
  }

  /** Of a file that was retired there is nothing left to read. */
  async read(target: Uint8Array, position: number): Promise<number> {
    if (this.#retired) return 0;
    this.#reading++;
    try {
      return await this.#file.read(target, position);
    } finally {
      this.#reading--;
      if (this.#retired && this.#reading === 0) await this.#file.close();
    }
  }

  write(bytes: Uint8Array, position: number): void {
    this.#file.write(bytes, position);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  truncate(size: number): Promise<void> {
    return this.#file.truncate(size);
  }

  /** Now, or when the last read that is under way has ended. */
  async close(): Promise<void> {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#reading === 0) await this.#file.close();
  }
}
