/**
 * `tidegate elect`: an operator makes a node lead though nobody can say that it holds
 * everything. What only others hold is lost, and that is written into the group's state.
 *
 * @module
 */

import type { Command } from "commander";
import { systemClock } from "../../storage/base/clock_node.ts";
import type { NodeStatus } from "../broker/api.ts";
import {
  Directory,
  FORCE,
  type GroupState,
  type Member,
  type NodeEntry,
  type Sighting,
} from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import { type Peer, WATCH_STATUS } from "../rpc/mod.ts";
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
const ASK_MS = 3000;

export function electCommand(parent: Command, terminal: Terminal): void {
  const command = parent.command("elect").description("make a member lead, and accept loss");
  addSettings(command, "elect");
  command.option("--force", "accept that what only others hold is lost");
  command.addHelpText("after", ABOUT).action(async (options: { readonly force?: true }) => {
    const config = configOf(command, { command: "elect", env: terminal.env });
    const coordinator = openCoordinator(config);
    const { group, node } = config;
    let peer: Peer | undefined;
    try {
      const before = await coordinator.look(group);
      const { state } = before;
      if (!state) throw new CliError("noInput", `Cannot find the broker group "${group}"`);
      const entry = find(await new Directory(coordinator).nodesOf(group), config);
      peer = new Acquaintance(config, { node: `operator of ${node}` }).peer(entry);
      tell(terminal, before);
      tellLoss(terminal, { node, state, status: await statusOf(peer) });
      refuseNeedless(before, config);
      if (!options.force) {
        const detail = `Nothing was changed: --force makes "${node}" lead, and loses what only others hold`;
        throw new CliError("usage", detail);
      }
      terminal.warn(`Making "${node}" lead "${group}": what only others hold is lost`);
      await peer.call(FORCE, undefined);
      const look = () => coordinator.look(group);
      tell(terminal, await leading(look, { node, after: state.epoch }));
      if (state.minSync > 1) {
        terminal.print(`Publishes are taken once ${state.minSync} members keep up: start others`);
      }
    } finally {
      peer?.close();
      await coordinator.close();
    }
  });
}

function find(nodes: readonly NodeEntry[], { group, node }: Config): NodeEntry {
  const entry = nodes.find((one) => one.node === node);
  if (entry) return entry;
  throw new CliError("noInput", `Cannot find the node "${node}" in "${group}"`);
}

/** What the node says of itself, now. @throws `unavailable` when it does not answer. */
async function statusOf(peer: Peer): Promise<NodeStatus> {
  const giveUp = new AbortController();
  const cancel = systemClock.after(ASK_MS, () => giveUp.abort());
  try {
    for await (const status of peer.subscribe(WATCH_STATUS, undefined, { signal: giveUp.signal })) {
      return status;
    }
  } finally {
    cancel();
  }
  throw new CliError("unavailable", "Cannot ask the node how far its log goes: it does not answer");
}

/** @throws {CliError} when somebody leads who lives: an election would lose for nothing. */
function refuseNeedless({ state, live }: Sighting, { group }: Config): void {
  const { leader } = state ?? {};
  if (!leader || !lives(leader, live)) return;
  const detail = `Nothing was changed: "${leader.node}" leads "${group}" and is alive`;
  throw new CliError("usage", detail);
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

const lives = ({ node, boot }: Member, live: readonly Member[]) =>
  live.some((one) => one.node === node && one.boot === boot);

function tell(terminal: Terminal, { state, live }: Sighting): void {
  if (!state) return;
  const names = (members: readonly { readonly node: string }[]) =>
    members.map((member) => member.node).join(", ") || "nobody";
  const { leader } = state;
  const away = leader && !lives(leader, live) ? ", who is gone" : "";
  terminal.print(`epoch    ${state.epoch}`);
  terminal.print(`leader   ${leader?.node ?? "nobody"}${away}`);
  terminal.print(`counts   ${names(state.syncSet)}`);
  terminal.print(`alive    ${names(live)}`);
  if (state.unclean.length > 0) terminal.print(`unclean  ${state.unclean.join(", ")}`);
}

/** How much of the log the node has, and how much was confirmed, as far as that is known. */
function tellLoss(
  terminal: Terminal,
  parts: { readonly node: string; readonly state: GroupState; readonly status: NodeStatus },
): void {
  const { node, state, status } = parts;
  const others = state.syncSet.map((member) => member.node).filter((name) => name !== node);
  const counts = others.length < state.syncSet.length;
  const lacking = Math.max(0, state.confirmHint - status.durableEnd);
  terminal.print(`log      confirmed up to ${state.confirmHint}, at least`);
  terminal.print(`${node.padEnd(8)} has ${status.durableEnd} of it`);
  if (counts) {
    terminal.print(`"${node}" counts: while its log is whole it is elected without this`);
  } else {
    const who = others.join(", ") || "nobody";
    terminal.print(`lost     all that was confirmed since "${node}" counted, which ${who} had:`);
    terminal.print(`         ${lacking} bytes that are known of, and what came after`);
  }
}
