/**
 * `tidegate gateway`: what faces the clients of a cluster, from its settings to its
 * last answer.
 *
 * @module
 */

import { hostname } from "node:os";
import process from "node:process";
import { isatty } from "node:tty";
import type { Command } from "commander";
import { Acquaintance, openCoordinator } from "./cluster.ts";
import { drain } from "./drain.ts";
import { createLog } from "./log.ts";
import { endOnDefect, stopSignal } from "./process_end.ts";
import { addSettings, configOf } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const EXAMPLES = `
Each flag is also a variable, which the flag overrides. Secrets come from
variables alone. A gateway keeps nothing: any of them takes any request.

Examples:
  tidegate gateway --cluster shop --etcd http://10.0.0.1:2379
  TIDEGATE_API_KEYS=$(openssl rand -hex 24) tidegate gateway --host 0.0.0.0`;

export function gatewayCommand(parent: Command, terminal: Terminal): void {
  const command = parent.command("gateway").description("run a gateway of a cluster");
  addSettings(command, "gateway");
  command.addHelpText("after", EXAMPLES).action(async () => {
    const config = configOf(command, { command: "gateway", env: terminal.env });
    const { logLevel: level, logFormat: format } = config;
    const log = createLog({ level, format, colors: isatty(2) && !terminal.env["NO_COLOR"] });
    endOnDefect(log);
    const name = `gateway ${hostname()} ${process.pid}`;
    const acquaintance = new Acquaintance(config, { node: name, log });
    const { openGatewayNode } = await import("./gateway_node.ts");
    const node = await openGatewayNode(config, {
      log,
      name,
      coordinator: openCoordinator(config),
      connect: (entry) => acquaintance.peer(entry),
    });
    const stopping = stopSignal(log); // Before anybody can know whom to signal.
    terminal.print(node.readyLine);
    const signal = await stopping;
    await drain(node, { log });
    log("info", "Stopped", { signal });
  });
}
