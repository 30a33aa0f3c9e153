/**
 * The bugs planted in the cluster's simulation, to see that it finds them: each
 * cost somebody data once. Those of the core are taken by the core itself
 * (src/cluster/plants.ts); some are of the stand-in for the broker and its shell.
 *
 *   npm run sim -- --world cluster --planted
 *
 * @module
 */

import type { Plants } from "../../src/cluster/plants.ts";
import { simulate, type StandInPlants } from "./cluster_world.ts";

export interface PlantedInCluster {
  readonly name: string;
  /** What it does wrong. */
  readonly about: string;
  readonly plants: Plants & StandInPlants;
  /** It is of the broker on the group. */
  readonly broker?: boolean;
  /** A seed whose history breaks with it: for the test, which cannot hunt for long. */
  readonly breaks: number;
  /** It must be found within so many. */
  readonly seeds: number;
}

const PLANTED: readonly Omit<PlantedInCluster, "seeds">[] = [
  {
    name: "M1",
    about: "cuts to confirm at a new epoch, without proof",
    plants: { cutToConfirm: true },
    breaks: 1,
  },
  {
    name: "M2",
    about: "takes a change of the set for made while it is under way",
    plants: { assumeSwap: true },
    breaks: 32,
  },
  {
    name: "M3",
    about: "confirms by who is connected, not by the set",
    plants: { confirmConnected: true },
    breaks: 1,
  },
  {
    name: "M4",
    about: "a new leader counts queueOffsets from confirm, not from the end",
    plants: { offsetsFromConfirm: true },
    breaks: 1,
  },
  {
    name: "M5",
    about: "keeps positions beside the log",
    plants: { positionsBeside: true },
    breaks: 8,
  },
  {
    name: "M6-replica",
    about: "acknowledges what is written and not synced",
    plants: { ackBeforeSync: true },
    breaks: 1,
  },
  {
    name: "M9",
    about: "deletes its log when the coordinator knows no state",
    plants: { deleteOrphan: true },
    breaks: 14,
  },
  {
    name: "M10",
    about: "lets the last member confirm alone",
    plants: { lastReplica: true },
    breaks: 1,
  },
  {
    name: "M11",
    about: "knows members by node alone, not by boot and disk",
    plants: { anyBoot: true },
    breaks: 3,
  },
  {
    name: "M13",
    about: "counts its lease from the answer, and twice",
    plants: { leaseFromReply: true },
    breaks: 462,
  },
  { name: "M16", about: "believes a watch", plants: { trustWatch: true }, breaks: 18 },
  {
    name: "M17",
    about: "sends frames of two epochs in one transfer",
    plants: { spanEpochs: true },
    breaks: 2,
  },
  {
    name: "M18",
    about: "a new leader shows its end before its epoch is confirmed",
    plants: { showEnd: true },
    breaks: 1,
  },
  {
    name: "M25",
    about: "cuts by an answer to an old question",
    plants: { trustLateAnswers: true },
    breaks: 311,
  },
  {
    name: "no-promise",
    about: "asks to be elected without a promise",
    plants: { noPromise: true },
    breaks: 1,
  },
  {
    name: "promise-in-memory",
    about: "asks to be elected before its promise is on disk",
    plants: { promiseInMemory: true },
    breaks: 1,
  },
  {
    name: "trusts-restart",
    about: "may be elected after its disk failed",
    plants: { trustRestart: true },
    breaks: 414,
  },
  {
    name: "answers-unsure",
    about: "answers from what it knows when another may lead by now",
    plants: { answersUnsure: true },
    broker: true,
    breaks: 2816,
  },
];

export const PLANTED_IN_CLUSTER: readonly PlantedInCluster[] = PLANTED.map((planted) => {
  return { ...planted, seeds: 10_000 };
});

/** Histories from seed 1 on, until one breaks. */
export function huntInCluster({ plants, broker = false, seeds }: PlantedInCluster): {
  readonly seed: number | undefined;
  readonly said: string;
} {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      simulate(seed, { plants, broker });
    } catch (error) {
      return { seed, said: (error as Error).message.split("\n")[0]?.slice(0, 120) ?? "" };
    }
  }
  return { seed: undefined, said: "nothing" };
}
