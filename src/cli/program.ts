/**
 * The command line of Tidegate: the commands, and what becomes of their errors.
 *
 * @module
 */

import { Command, CommanderError } from "commander";
import manifest from "../../package.json" with { type: "json" };
import { TidegateError } from "../../storage/base/errors.ts";
import { ConfigError } from "../config.ts";
import { backupCommands } from "./backup.ts";
import { brokerCommand } from "./broker_command.ts";
import { checkCommand } from "./check.ts";
import { electCommand } from "./elect.ts";
import { CliError, EXIT, type ExitName } from "./exit.ts";
import { definitionCommands } from "./definitions.ts";
import { gatewayCommand } from "./gateway_command.ts";
import { groupCommand } from "./group.ts";
import { inspectCommand } from "./inspect.ts";
import { searchCommand, traceCommand } from "./lookups.ts";
import { publishCommand } from "./publish.ts";
import { serveCommand } from "./serve.ts";
import { tailCommand } from "./tail.ts";
import type { Terminal } from "./terminal.ts";
import { topicCommand } from "./topic.ts";

const AFTER_HELP = `
Examples:
  tidegate serve --port 9000 --data-dir /var/lib/tidegate
  tidegate topic create orders --queues 8
  tidegate group put billing --subscribe orders
  tidegate publish orders '{"total":12}' --content-type application/json
  tidegate tail orders --after earliest

Exit codes:
${Object.values(EXIT)
  .map(({ code, about }) => `  ${String(code).padStart(3)}  ${about}`)
  .join("\n")}
  130, 143  ended by SIGINT, SIGTERM without draining`;

/** Runs one command; resolves to the exit code of the process. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    await buildProgram(terminal).parseAsync(args, { from: "user" });
    return EXIT.ok.code;
  } catch (error) {
    return report(error, terminal);
  }
}

function buildProgram(terminal: Terminal): Command {
  const program = new Command("tidegate")
    .description("An HTTP event gateway with Apache RocketMQ's semantics")
    .version(manifest.version, "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help; also after a command")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.print(text.trimEnd()),
      writeErr: (text) => terminal.warn(text.trimEnd()),
    })
    .addHelpText("after", AFTER_HELP);
  serveCommand(program, terminal);
  brokerCommand(program, terminal);
  gatewayCommand(program, terminal);
  topicCommand(program, terminal);
  groupCommand(program, terminal);
  publishCommand(program, terminal);
  tailCommand(program, terminal);
  searchCommand(program, terminal);
  traceCommand(program, terminal);
  inspectCommand(program, terminal);
  checkCommand(program, terminal);
  electCommand(program, terminal);
  backupCommands(program, terminal);
  definitionCommands(program, terminal);
  return program;
}

/** Says what went wrong, once, as a person wants to read it; defects with their stack. */
function report(error: unknown, terminal: Terminal): number {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? EXIT.ok.code : EXIT.usage.code; // Commander has said it.
  }
  if (error instanceof CliError) return fail(error.message, error.exitCode, terminal);
  if (error instanceof ConfigError) return fail(error.message, EXIT.config.code, terminal);
  if (error instanceof TidegateError) {
    return fail(error.message, EXIT[exitFor(error)].code, terminal);
  }
  const stack = error instanceof Error ? error.stack : String(error);
  return fail(`Defect: ${stack}`, EXIT.internal.code, terminal);
}

function fail(message: string, exitCode: number, terminal: Terminal): number {
  for (const line of message.split("\n")) terminal.warn(`tidegate: ${line}`);
  return exitCode;
}

function exitFor({ code }: TidegateError): ExitName {
  return code === "data-damaged" ? "io" : "refused";
}
