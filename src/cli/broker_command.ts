/**
 * `tidegate broker`: a member of a broker group, from its settings to its last flush.
 *
 * @module
 */

import { isatty } from "node:tty";
import type { Command } from "commander";
import { createLog } from "./log.ts";
import { endOnDefect, endOnDiskFailure, stopSignal } from "./process_end.ts";
import { addSettings, configOf } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const EXAMPLES = `
Each flag is also a variable, which the flag overrides. Secrets come from
variables alone. The first member to start founds its group; publishes are taken
once as many members as --min-sync says keep up.

Examples:
  tidegate broker --group g1 --node n1 --data-dir /var/lib/tidegate
  tidegate broker --cluster shop --group g1 --node n1 --data-dir n1 \\
    --rpc-port 9871 --etcd http://10.0.0.1:2379,http://10.0.0.2:2379
  tidegate broker --group g1 --node n1 --min-sync 1`;

export function brokerCommand(parent: Command, terminal: Terminal): void {
  const command = parent.command("broker").description("run a member of a broker group");
  addSettings(command, "broker");
  command.addHelpText("after", EXAMPLES).action(async () => {
    const config = configOf(command, { command: "broker", env: terminal.env });
    const { logLevel: level, logFormat: format } = config;
    const log = createLog({ level, format, colors: isatty(2) && !terminal.env["NO_COLOR"] });
    endOnDefect(log);
    const stopping = stopSignal(log); // It may wait for the coordinator for long.
    const { openBrokerNode } = await import("./broker_node.ts");
    const opened = openBrokerNode(config, { log, fatal: endOnDiskFailure(log) });
    const first = await Promise.race([opened, stopping]);
    if (typeof first === "string") return; // Told to stop before it took part in anything.
    terminal.print(first.readyLine);
    const signal = await stopping;
    await first.stop();
    log("info", "Stopped", { signal });
  });
}
