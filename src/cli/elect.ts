/**
 * `tidegate elect`: an operator makes a node lead though nobody can say that it holds
 * everything. What only others hold is lost, and that is written into the group's state.
 *
 * @module
 */

import type { Command } from "commander";
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

export function electCommand(parent: Command, terminal: Terminal): void {
  const command = parent.command("elect").description("make a member lead, and accept loss");
  addSettings(command, "elect");
  command.option("--force", "accept that what only others hold is lost");
  command.addHelpText("after", ABOUT).action(async (options: { readonly force?: true }) => {
    const config = configOf(command, { command: "elect", env: terminal.env });
    const { elect } = await import("./election.ts"); // Or `serve` would load what a cluster needs.
    await elect(config, { force: options.force === true, terminal });
  });
}
