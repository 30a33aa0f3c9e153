/**
 * What a command sees of the process around it: its streams and variables. A
 * test passes its own.
 *
 * @module
 */

import process from "node:process";

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Results: what a pipe would take on. */
  print(text: string): void;
  /** Everything else a person should know. */
  warn(text: string): void;
  /** All of standard input. */
  input(): Promise<Uint8Array>;
  /** From now on Ctrl-C ends the process no more, but aborts the signal. */
  onInterrupt(): AbortSignal;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  return {
    env: process.env,
    print: (text) => void process.stdout.write(`${text}\n`),
    warn: (text) => void process.stderr.write(`${text}\n`),
    input: readInput,
    onInterrupt() {
      const interrupt = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM"] as const) {
        process.once(signal, () => interrupt.abort());
      }
      return interrupt.signal;
    },
  };
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}
