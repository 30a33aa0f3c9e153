/**
 * A terminal in memory, and a way to run a command on it.
 *
 * @module
 */

import { run } from "../../src/cli/program.ts";
import { type Answer, type Asked, withAnswers } from "./http_answers.ts";

export interface Ran {
  readonly exitCode: number;
  readonly printed: readonly string[];
  readonly warned: readonly string[];
}

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input. */
  readonly input?: string;
  /** Called with every line printed; `interrupt` is Ctrl-C. */
  readonly onPrint?: (line: string, interrupt: () => void) => void;
  readonly onWarn?: (line: string, interrupt: () => void) => void;
}

/** Runs `tidegate` with `args`, to its end. */
export async function runCommand(
  args: readonly string[],
  options: TerminalOptions = {},
): Promise<Ran> {
  const printed: string[] = [];
  const warned: string[] = [];
  const stop = new AbortController();
  const interrupt = () => stop.abort();
  const exitCode = await run(args, {
    env: options.env ?? {},
    print(text) {
      printed.push(text);
      options.onPrint?.(text, interrupt);
    },
    warn(text) {
      warned.push(text);
      options.onWarn?.(text, interrupt);
    },
    input: async () => new TextEncoder().encode(options.input ?? ""),
    onInterrupt: () => stop.signal,
  });
  return { exitCode, printed, warned };
}

/** Runs `tidegate` with `args` against a node that gives `answers`. */
export function runAgainst(
  answers: readonly Answer[],
  args: readonly string[],
  options: TerminalOptions = {},
): Promise<Ran & { readonly asked: readonly Asked[] }> {
  return withAnswers(answers, async ({ url, asked }) => {
    const ran = await runCommand([...args, "--url", url], options);
    return { ...ran, asked };
  });
}
