/**
 * What happens to a broker group from outside, while it is under load. Each strikes,
 * holds as long as it lasts, mends what will not mend itself, and says whether it
 * was seen to take effect.
 *
 *   leader-kill, follower-kill, all-kill     SIGKILL
 *   follower-pause, leader-pause             SIGSTOP, also for longer than any lease
 *   drain, follower-drain                    SIGTERM
 *   partition, network                       links cut, one way or both; bursts of
 *                                            loss, connections reset, little bandwidth
 *   etcd-cut                                 the coordinator is out of reach of some or all
 *   clock                                    an hour forward or back, a tenth too fast or slow
 *   swarm                                    two or three of these at once
 *
 * Those of the disks are in cluster_disk_faults.ts, those of the coordinator in
 * cluster_coordinator_faults.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Prng } from "../../storage/base/prng.ts";
import { until } from "../e2e/server.ts";
import type { Acks } from "./acks.ts";
import { ETCD } from "./cluster_etcd.ts";
import type { BrokerGroup, BrokerNode } from "./cluster_group.ts";
import { OUTSIDE } from "./cluster_net.ts";
import { pause } from "./target.ts";

export interface Blow {
  readonly group: BrokerGroup;
  readonly prng: Prng;
  readonly acks: Acks;
  /** Notes what must not be. */
  readonly complain: (what: string) => void;
  /** Publishes until now that were answered without saying what became of them. */
  readonly doubts: () => number;
}

/** What it takes beside processes; `disks`: whose power can be cut, `errors`: which refuse, `others`: more nodes than one. */
export type Means = "cuts" | "disks" | "errors" | "clocks" | "tracer" | "others";

export interface ClusterFault {
  readonly needs: readonly Means[];
  /** For how long no publish may be acknowledged, on a machine that has nothing else to do. */
  readonly aim?: { readonly medianMs?: number; readonly p99Ms: number };
  /** @returns whether it was seen to take effect. */
  strike(blow: Blow): Promise<boolean>;
}

/** No publish for so long, and nothing is in the way any more: they are stuck. */
const RESUMES_MS = 30_000;
const DRAINS_MS = 10_000;

export const some = (prng: Prng, leastMs: number, mostMs: number) =>
  pause(leastMs + prng.below(mostMs - leastMs));

export async function pickNode({ group, prng }: Blow): Promise<BrokerNode> {
  return prng.chance(60) ? group.leader() : prng.pick(group.nodes);
}

async function pickFollower({ group, prng }: Blow): Promise<BrokerNode> {
  return prng.pick(await group.followers());
}

/** Publishes are answered again, whatever is still broken. */
export function resumes({ acks }: Blow): Promise<void> {
  const before = acks.count;
  return until(() => acks.count > before, "publishes are acknowledged again", RESUMES_MS);
}

const leaderKill: ClusterFault = {
  needs: ["others"],
  aim: { medianMs: 3500, p99Ms: 5000 },
  async strike(blow) {
    const { group, prng } = blow;
    const sighting = await group.look();
    const leader = await group.leader();
    blow.acks.mark();
    await leader.kill();
    await resumes(blow);
    if (prng.chance(50)) await some(prng, 0, 2000);
    const after = await group.look();
    leader.start();
    return (after?.state?.epoch ?? 0) > (sighting?.state?.epoch ?? Infinity);
  },
};

const followerKill: ClusterFault = {
  needs: ["others"],
  aim: { p99Ms: 2000 },
  async strike(blow) {
    const follower = await pickFollower(blow);
    blow.acks.mark();
    await follower.kill();
    await some(blow.prng, 100, 4000);
    follower.start();
    return true;
  },
};

const allKill: ClusterFault = {
  needs: [],
  async strike({ group, prng, acks }) {
    acks.mark();
    await Promise.all(group.nodes.map((node) => node.kill()));
    if (prng.chance(50)) await some(prng, 0, 4000);
    for (const node of group.nodes) node.start();
    return true;
  },
};

async function suspend(blow: Blow, node: BrokerNode): Promise<boolean> {
  const { prng } = blow;
  blow.acks.mark();
  node.signal("SIGSTOP");
  await pause(50);
  const effective = node.running && node.isPaused;
  await some(prng, 100, prng.pick([1000, 6000, 12_000]));
  node.signal("SIGCONT");
  return effective;
}

const followerPause: ClusterFault = {
  needs: ["others"],
  aim: { p99Ms: 2000 },
  strike: async (blow) => suspend(blow, await pickFollower(blow)),
};

const leaderPause: ClusterFault = {
  needs: [],
  strike: async (blow) => suspend(blow, await blow.group.leader()),
};

/** Whoever is told to stop does so in time, and leaves nobody in doubt. */
async function terminate(blow: Blow, node: BrokerNode): Promise<boolean> {
  const { acks, complain, doubts, prng } = blow;
  const before = doubts();
  acks.mark();
  node.signal("SIGTERM");
  const startedAt = performance.now();
  await Promise.race([node.exited, pause(DRAINS_MS)]);
  if (node.running) complain(`${node.name} does not end within ${DRAINS_MS} ms of SIGTERM`);
  await node.kill();
  await some(prng, 0, 1000);
  const doubted = doubts() - before;
  if (doubted > 0) complain(`${doubted} publishes of unknown outcome, by a planned stop`);
  node.start();
  return performance.now() - startedAt < DRAINS_MS;
}

const drain: ClusterFault = {
  needs: ["others"],
  aim: { p99Ms: 1000 },
  strike: async (blow) => terminate(blow, await blow.group.leader()),
};

const followerDrain: ClusterFault = {
  needs: ["others"],
  aim: { p99Ms: 500 },
  strike: async (blow) => terminate(blow, await pickFollower(blow)),
};

/** Cuts each of `links` and heals it again. @returns whether all were seen to be cut. */
async function cutFor(
  { group }: Blow,
  links: readonly (readonly [from: string, to: string])[],
  ms: number,
): Promise<boolean> {
  const { net } = group;
  for (const [from, to] of links) net.cut(from, to);
  const effective = links
    .filter(([, to]) => to !== OUTSIDE)
    .every(([from, to]) => net.isCut(from, to));
  await pause(ms);
  for (const [from, to] of links) net.heal(from, to);
  return effective;
}

/** Directed links between a node and others, in one direction or both. */
function linksOf(prng: Prng, node: string, others: readonly string[]) {
  const way = prng.pick(["out", "in", "both", "both"] as const);
  const out = others.map((other) => [node, other] as const);
  const into = others.map((other) => [other, node] as const);
  return [...(way === "in" ? [] : out), ...(way === "out" ? [] : into)];
}

const partition: ClusterFault = {
  needs: ["cuts", "others"],
  async strike(blow) {
    const { group, prng } = blow;
    const node = await pickNode(blow);
    const peers = group.nodes.filter((one) => one !== node).map(({ name }) => name);
    const more = prng.pick([[], [], [ETCD], [ETCD, OUTSIDE], [OUTSIDE]]);
    const from = prng.pick([peers, peers, [prng.pick(peers)]]);
    blow.acks.mark();
    return cutFor(blow, linksOf(prng, node.name, [...from, ...more]), 500 + prng.below(8000));
  },
};

const etcdCut: ClusterFault = {
  needs: ["cuts"],
  async strike(blow) {
    const { group, prng } = blow;
    const all = prng.chance(30);
    const nodes = all ? group.nodes : [await pickNode(blow)];
    blow.acks.mark();
    const links = nodes.flatMap(({ name }) => linksOf(prng, name, [ETCD]));
    return cutFor(blow, links, 1000 + prng.below(9000));
  },
};

const HOUR_S = 3600;

const clock: ClusterFault = {
  needs: ["clocks"],
  async strike(blow) {
    const { group, prng } = blow;
    const nodes = prng.chance(30) ? group.nodes : [await pickNode(blow)];
    blow.acks.mark();
    for (const node of nodes) {
      const drifts = prng.chance(40);
      node.setClock(drifts ? 0 : prng.pick([HOUR_S, -HOUR_S]), drifts ? prng.pick([0.9, 1.1]) : 1);
    }
    const effective = nodes.every((node) => node.running && node.hasOwnClock);
    await some(prng, 1000, 5000);
    for (const node of nodes) node.setClock(0);
    return effective;
  },
};

const network: ClusterFault = {
  needs: ["cuts", "others"],
  async strike(blow) {
    const { group, prng } = blow;
    const { net } = group;
    const node = await pickNode(blow);
    const others = [...group.nodes.map(({ name }) => name), ETCD].filter(
      (one) => one !== node.name,
    );
    const throttled = prng.chance(50);
    blow.acks.mark();
    if (throttled) net.throttle(node.name, prng.pick([2000, 8000, 30_000]));
    let hits = 0;
    for (let left = 10 + prng.below(20); left > 0; left--) {
      const links = linksOf(prng, node.name, [prng.pick(others)]);
      for (const [from, to] of links) net.cut(from, to);
      await some(prng, 10, 80); // a burst of loss
      for (const [from, to] of links) net.heal(from, to);
      if (prng.chance(30)) hits += net.reset(node.name);
      await some(prng, 20, 300);
    }
    if (throttled) hits += net.throttle(node.name, 0);
    return hits > 0;
  },
};

/** Each does for itself; what one has ended already the other finds ended. */
const swarm: ClusterFault = {
  needs: ["cuts", "others"],
  async strike(blow) {
    const { prng } = blow;
    const kinds = [killAny, suspendAny, partition, etcdCut, network];
    const first = prng.pick(kinds);
    const others = kinds.filter((one) => one !== first);
    const second = prng.pick(others);
    const third = prng.chance(50) ? [prng.pick(others.filter((one) => one !== second))] : [];
    const outcomes = await Promise.all(
      [first, second, ...third].map(async ({ strike }) => {
        await some(prng, 0, 1500);
        return strike(blow);
      }),
    );
    return outcomes.some(Boolean);
  },
};

const killAny: ClusterFault = {
  needs: [],
  async strike(blow) {
    const node = await pickNode(blow);
    await node.kill();
    await some(blow.prng, 0, 3000);
    node.start();
    return true;
  },
};

const suspendAny: ClusterFault = {
  needs: [],
  async strike(blow) {
    const node = await pickNode(blow);
    const { pid } = node;
    assert(pid > 0, "it has run");
    node.signal("SIGSTOP");
    await some(blow.prng, 100, 6000);
    if (node.pid === pid) node.signal("SIGCONT");
    return true;
  },
};

export const PROCESS_FAULTS = {
  "leader-kill": leaderKill,
  "follower-kill": followerKill,
  "all-kill": allKill,
  "leader-pause": leaderPause,
  "follower-pause": followerPause,
  drain,
  "follower-drain": followerDrain,
  partition,
  network,
  "etcd-cut": etcdCut,
  clock,
  swarm,
} as const satisfies Record<string, ClusterFault>;
