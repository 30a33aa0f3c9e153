/**
 * `tidegate serve`: one node, from its settings to its last flush.
 *
 * @module
 */

import { isatty } from "node:tty";
import type { Command } from "commander";
import { drain } from "./drain.ts";
import { createLog } from "./log.ts";
import { endOnDefect, endOnDiskFailure, stopSignal } from "./process_end.ts";
import { addSettings, configOf } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const EXAMPLES = `
Each flag is also a variable, which the flag overrides. Keys come from
TIDEGATE_API_KEYS alone.

Examples:
  tidegate serve
  tidegate serve --port 9000 --data-dir /var/lib/tidegate --log-format json
  TIDEGATE_API_KEYS=$(openssl rand -hex 24) tidegate serve --host 0.0.0.0`;

export function serveCommand(parent: Command, terminal: Terminal): void {
  const command = parent.command("serve").description("run a node");
  addSettings(command, "serve");
  command.addHelpText("after", EXAMPLES).action(async () => {
    const config = configOf(command, { command: "serve", env: terminal.env });
    const { logLevel: level, logFormat: format } = config;
    const colors = isatty(2) && !terminal.env["NO_COLOR"];
    const log = createLog({ level, format, colors });
    endOnDefect(log);
    const { openNode } = await import("./node.ts"); // The other commands start faster without it.
    const node = await openNode(config, { log, fatal: endOnDiskFailure(log) });
    const stopping = stopSignal(log); // Before anybody can know whom to signal.
    terminal.print(node.readyLine);
    const signal = await stopping;
    await drain(node, { log });
    log("info", "Stopped", { signal });
  });
}
