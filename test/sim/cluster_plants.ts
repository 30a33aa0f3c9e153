/**
 * The bugs planted in the cluster's simulation, to see that it finds them: each
 * cost somebody data once. Those of the core are taken by the core itself
 * (src/cluster/plants.ts); two are of the stand-in for the broker.
 *
 *   npm run sim -- --world cluster --planted
 *
 * @module
 */

import type { Plants } from "../../src/cluster/plants.ts";
import { simulate, type StandInPlants } from "./cluster_world.ts";

export interface Planted {
  readonly name: string;
  readonly plants: Plants & StandInPlants;
  /** Histories it is looked for in by the test: some times what it took. */
  readonly within: number;
}

export const PLANTED: readonly Planted[] = [
  { name: "M1 cut to confirm", plants: { cutToConfirm: true }, within: 50 },
  { name: "M2 change of the set assumed", plants: { assumeSwap: true }, within: 200 },
  { name: "M3 isolated leader confirms", plants: { confirmConnected: true }, within: 50 },
  { name: "M4 queueOffsets from confirm", plants: { offsetsFromConfirm: true }, within: 50 },
  { name: "M5 positions beside the log", plants: { positionsBeside: true }, within: 150 },
  { name: "M6 acknowledged before synced", plants: { ackBeforeSync: true }, within: 50 },
  { name: "M9 orphan deleted", plants: { deleteOrphan: true }, within: 150 },
  { name: "M10 last replica standing", plants: { lastReplica: true }, within: 50 },
  { name: "M11 stale boot joins", plants: { anyBoot: true }, within: 50 },
  { name: "M13 lease from the reply", plants: { leaseFromReply: true }, within: 2500 },
  { name: "M16 watch believed", plants: { trustWatch: true }, within: 150 },
  { name: "M17 transfer spans epochs", plants: { spanEpochs: true }, within: 50 },
  { name: "M18 end shown early", plants: { showEnd: true }, within: 50 },
  { name: "M25 late answer cuts", plants: { trustLateAnswers: true }, within: 4000 },
  { name: "candidate goes on acknowledging", plants: { noPromise: true }, within: 50 },
  { name: "promise not on disk", plants: { promiseInMemory: true }, within: 50 },
  { name: "restart after a failed sync trusted", plants: { trustRestart: true }, within: 4000 },
  { name: "lease granted again trusted", plants: { trustNewLease: true }, within: 4000 },
];

export interface Found {
  /** How many histories it took; undefined when none of them broke. */
  readonly seeds: number | undefined;
  readonly what: string;
}

/** Histories from seed 1 on, until one breaks. */
export function hunt(planted: Planted, seedsMax: number): Found {
  for (let seed = 1; seed <= seedsMax; seed++) {
    try {
      simulate(seed, { plants: planted.plants });
    } catch (error) {
      return { seeds: seed, what: (error as Error).message };
    }
  }
  return { seeds: undefined, what: "nothing" };
}
