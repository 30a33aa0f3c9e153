/**
 * What the tools of this repository are told on their command line: `npm run sim`,
 * `npm run faults`, `npm run bench`.
 *
 * @module
 */

import process from "node:process";
import { type ParseArgsConfig, parseArgs } from "node:util";

/** As sysexits.h has it: the command was used wrongly. */
const USAGE_FAULT = 64;

type Options = NonNullable<ParseArgsConfig["options"]>;

/** The values of `options`. `--help` prints the usage and ends the process; so does what is no option, as a fault. */
export function argumentsOf<const O extends Options>(options: O, usage: string) {
  try {
    const { values } = parseArgs({ options });
    return values;
  } catch (error) {
    if (process.argv.includes("--help")) {
      console.log(usage);
      process.exit(0);
    }
    return wrongly(usage, error instanceof Error ? error.message : String(error));
  }
}

/** Ends the process, which was told something it cannot do. */
export function wrongly(usage: string, reason?: string): never {
  if (reason !== undefined) console.error(`${reason}\n`);
  console.error(usage);
  process.exit(USAGE_FAULT);
}
