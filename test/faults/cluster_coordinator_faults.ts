/**
 * What happens to the coordinator of a broker group, while the group is under load.
 *
 *   etcd-kill       SIGKILL, and a start some seconds later
 *   etcd-pause      SIGSTOP, also for longer than any lease
 *   etcd-away       stopped for a minute
 *   etcd-compact    its history goes, under the watches; then somebody is killed
 *
 * While the set is whole nobody needs it: publishes go on.
 *
 * @module
 */

import { type Blow, type ClusterFault, resumes, some } from "./cluster_faults.ts";

/** With the set whole nobody needs the coordinator. */
const GAP_MS_MAX = 2000;
const AWAY_MS = 60_000;

/** Nobody reaches the coordinator, and the set is whole: publishes go on. */
async function withoutEtcd(
  { group, prng, acks, complain }: Blow,
  [leastMs, mostMs]: readonly [number, number] = [2000, 10_000],
): Promise<boolean> {
  acks.mark();
  await some(prng, leastMs, mostMs);
  const effective = (await group.look()) === undefined;
  const { gapMs } = acks.longest();
  if (gapMs > GAP_MS_MAX) complain(`no publish for ${Math.round(gapMs)} ms while etcd was away`);
  return effective;
}

const etcdKill: ClusterFault = {
  needs: [],
  aim: { p99Ms: GAP_MS_MAX },
  async strike(blow) {
    const { etcd } = blow.group;
    await etcd.kill();
    const effective = await withoutEtcd(blow);
    etcd.start();
    return effective;
  },
};

const etcdPause: ClusterFault = {
  needs: [],
  aim: { p99Ms: GAP_MS_MAX },
  async strike(blow) {
    const { etcd } = blow.group;
    etcd.signal("SIGSTOP");
    const effective = await withoutEtcd(blow);
    etcd.signal("SIGCONT");
    return effective;
  },
};

const etcdAway: ClusterFault = {
  needs: [],
  aim: { p99Ms: GAP_MS_MAX },
  async strike(blow) {
    const { etcd } = blow.group;
    await etcd.kill();
    const effective = await withoutEtcd(blow, [AWAY_MS, AWAY_MS + 1]);
    etcd.start();
    return effective;
  },
};

const etcdCompact: ClusterFault = {
  needs: ["others"],
  async strike(blow) {
    const { group, acks } = blow;
    acks.mark();
    const effective = await group.compact();
    const leader = await group.leader();
    await leader.kill(); // whoever watches must still hear of it
    await resumes(blow);
    leader.start();
    return effective;
  },
};

export const COORDINATOR_FAULTS = {
  "etcd-kill": etcdKill,
  "etcd-pause": etcdPause,
  "etcd-away": etcdAway,
  "etcd-compact": etcdCompact,
} as const satisfies Record<string, ClusterFault>;
