/**
 * What `tidegate elect` does: tells how a broker group stands, and makes the member lead
 * that the operator named.
 *
 * @module
 */

import { systemClock } from "../../storage/base/clock_node.ts";
import { Directory, FORCE, type Sighting } from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import { Acquaintance, openCoordinator } from "./cluster.ts";
import { CliError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

const PATIENCE_MS = 15_000;
const LOOK_MS = 200;

/** @throws {CliError} when nothing was changed, or the member does not come to lead. */
export async function elect(
  config: Config,
  { force, terminal }: { readonly force: boolean; readonly terminal: Terminal },
): Promise<void> {
  const { group, node } = config;
  const coordinator = openCoordinator(config);
  const peers: { close(): void }[] = [];
  try {
    const before = await coordinator.look(group);
    if (!before.state) throw new CliError("noInput", `Cannot find the broker group "${group}"`);
    tell(terminal, before);
    if (!force) {
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
