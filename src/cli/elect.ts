/**
 * `tidegate elect`: an operator makes a node lead though nobody can say that it holds
 * everything. What only others hold is lost, and that is written into the group's state.
 *
 * @module
 */

import type { Command } from "commander";
import { systemClock } from "../../storage/base/clock_node.ts";
import { Directory, FORCE, type Sighting } from "../cluster/mod.ts";
import { Acquaintance, openCoordinator } from "./cluster.ts";
import { CliError } from "./exit.ts";
import { addSettings, configOf } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const ABOUT = `
A broker group elects its leader by itself, from the members that hold everything
that was ever confirmed. When all of those are lost for good, no member may lead.
This makes the one named by --node lead with what it has. Whatever only others
hold is lost: acknowledged messages, positions, decisions. Their logs are cut to
match when they come back. The epoch it begins is kept in the group's state as
unclean. Try everything else first.

Examples:
  tidegate elect --group g1 --node n2           tells how the group stands
  tidegate elect --group g1 --node n2 --force   makes n2 lead`;

const PATIENCE_MS = 15_000;
const LOOK_MS = 200;

export function electCommand(parent: Command, terminal: Terminal): void {
  const command = parent.command("elect").description("make a member lead, and accept loss");
  addSettings(command, "elect");
  command.option("--force", "accept that what only others hold is lost");
  command.addHelpText("after", ABOUT).action(async (options: { readonly force?: true }) => {
    const config = configOf(command, { command: "elect", env: terminal.env });
    const { group, node } = config;
    const coordinator = openCoordinator(config);
    const peers: { close(): void }[] = [];
    try {
      const before = await coordinator.look(group);
      if (!before.state) throw new CliError("noInput", `Cannot find the broker group "${group}"`);
      tell(terminal, before);
      if (!options.force) {
        const detail = `Nothing was changed: --force makes "${node}" lead, and loses what only others hold`;
        throw new CliError("usage", detail);
      }
      const nodes = await new Directory(coordinator).nodesOf(group);
      const entry = nodes.find((one) => one.node === node);
      if (!entry) throw new CliError("noInput", `Cannot find the node "${node}" in "${group}"`);
      const peer = new Acquaintance(config, `operator of ${node}`).peer(entry);
      peers.push(peer);
      terminal.warn(`Making "${node}" lead "${group}": what only others hold is lost`);
      await peer.call(FORCE, undefined);
      const look = () => coordinator.look(group);
      tell(terminal, await leading(look, { node, after: before.state.epoch }));
    } finally {
      for (const peer of peers) peer.close();
      await coordinator.close();
    }
  });
}

/** @throws {CliError} when it does not come to lead. */
async function leading(
  look: () => Promise<Sighting>,
  { node, after }: { readonly node: string; readonly after: number },
): Promise<Sighting> {
  const until = systemClock.elapsed() + PATIENCE_MS;
  while (systemClock.elapsed() < until) {
    const sighting = await look();
    const { epoch = 0, leader } = sighting.state ?? {};
    if (epoch > after && leader?.node === node) return sighting;
    await new Promise<void>((resolve) => void systemClock.after(LOOK_MS, resolve));
  }
  throw new CliError("unavailable", `"${node}" does not lead yet: see its log`);
}

function tell(terminal: Terminal, { state, live }: Sighting): void {
  if (!state) return;
  const names = (members: readonly { readonly node: string }[]) =>
    members.map((member) => member.node).join(", ") || "nobody";
  terminal.print(`epoch    ${state.epoch}`);
  terminal.print(`leader   ${state.leader?.node ?? "nobody"}`);
  terminal.print(`counts   ${names(state.syncSet)}`);
  terminal.print(`alive    ${names(live)}`);
  if (state.unclean.length > 0) terminal.print(`unclean  ${state.unclean.join(", ")}`);
}
