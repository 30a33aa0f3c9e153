/**
 * Lines on their way to stderr, which may be a pipe that nobody reads.
 *
 *   write ──▶ out at once ──(the pipe is full)──▶ kept, tried again every 50 ms
 *                                                   └─ 1 MiB are kept: dropped, counted
 *
 * A line is out before the call returns where that is possible, so the last words
 * of a dying process are not lost. A full pipe would hold up the event loop, and
 * with it the node, so it is made to refuse instead. Files and terminals take what
 * they get. What was dropped is told, as a line of its own, once there is room again.
 *
 * @module
 */

import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import process from "node:process";

const { O_NONBLOCK, O_WRONLY } = constants;

const STDERR = 2;
const KEPT_BYTES_MAX = 1024 * 1024;
const RETRY_MS = 50;

export interface LineOutput {
  /** Takes some of the bytes, at least one; @returns how many. @throws `EAGAIN` when there is no room. */
  write(bytes: Uint8Array): number;
  after(delayMs: number, run: () => void): void;
}

export class LogWriter {
  readonly #output: LineOutput;
  /** The line that tells of `count` others which were dropped. */
  readonly #tell: (count: number) => string;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #dropped = 0;
  #waiting = false;

  constructor(output: LineOutput, tell: (count: number) => string) {
    this.#output = output;
    this.#tell = tell;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#keptBytes + bytes.length > KEPT_BYTES_MAX) {
      this.#dropped++;
      return;
    }
    this.#keep(bytes);
    if (!this.#waiting) this.flush();
  }

  #keep(bytes: Uint8Array): void {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
  }

  /** Writes what it can; the rest is tried again later. */
  flush(): void {
    try {
      this.#writeKept();
      if (this.#dropped > 0) {
        this.#keep(Buffer.from(this.#tell(this.#dropped)));
        this.#dropped = 0;
        this.#writeKept();
      }
    } catch (error) {
      if (isFull(error)) return this.#wait();
      this.#kept = []; // Whoever read the log is gone. Serving goes on without it.
      this.#keptBytes = 0;
    }
  }

  #writeKept(): void {
    let done = 0;
    try {
      for (; done < this.#kept.length; done++) this.#writeOut(done);
    } finally {
      this.#kept.splice(0, done);
    }
  }

  /** All of one line; what is left of it when there is no room for it takes its place. */
  #writeOut(index: number): void {
    for (;;) {
      const line = this.#kept[index] as Uint8Array;
      const written = this.#output.write(line);
      this.#keptBytes -= written;
      if (written >= line.length) return;
      this.#kept[index] = line.subarray(written);
    }
  }

  #wait(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#output.after(RETRY_MS, () => {
      this.#waiting = false;
      this.flush();
    });
  }
}

/** Full: "try again". */
function isFull(error: unknown): boolean {
  return (error as { code?: unknown }).code === "EAGAIN";
}

export function stderrOutput(): LineOutput {
  const descriptor = refusingStderr();
  return {
    write: (bytes) => writeSync(descriptor, bytes),
    after(delayMs, run) {
      setTimeout(run, delayMs).unref(); // a log nobody reads must not keep the process
    },
  };
}

const kept = new Set<unknown>();

/** Or the descriptor would be closed with it. */
function keep(stream: unknown): void {
  kept.add(stream);
}

/**
 * A descriptor that refuses what it has no room for. A pipe is opened once more,
 * to be ours alone. A socket cannot be; but the runtimes make one that way when
 * they wrap a stream around it, Deno not by its own `stderr`.
 */
function refusingStderr(): number {
  try {
    const kind = fstatSync(STDERR);
    if (kind.isFIFO()) return openSync("/proc/self/fd/2", O_WRONLY | O_NONBLOCK);
    if (kind.isSocket()) {
      const deno = "Deno" in globalThis;
      keep(deno ? new Socket({ fd: STDERR, readable: false }) : process.stderr);
    }
  } catch {
    // There is no /proc, or no stderr: what was given is used as it is
  }
  return STDERR;
}
