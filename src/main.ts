/**
 * The program `tidegate`. See `tidegate --help`, and `src/cli/program.ts`.
 *
 * @module
 */

import process from "node:process";
import { EXIT } from "./cli/exit.ts";
import { run } from "./cli/program.ts";
import { processTerminal } from "./cli/terminal.ts";

process.stdout.on("error", (error: Error & { code?: string }) => {
  // Whoever read the output has enough, as `head` does: ending is right, a stack trace is not.
  process.exit(error.code === "EPIPE" ? EXIT.ok.code : EXIT.io.code);
});

const exitCode = await run(process.argv.slice(2), processTerminal());
// Idle connections would keep the process; what was written must be out before it ends.
process.stdout.write("", () => process.exit(exitCode));
