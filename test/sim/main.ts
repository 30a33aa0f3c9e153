/**
 * Runs histories of a simulation, of the storage, of the broker on it, of a broker
 * group, or of the broker on one, as many as told or until one fails.
 *
 *   npm run sim -- --world storage --seed 1 --count 1000
 *
 * Prints the failing seed with the command that replays it; exit code 1. With
 * `--trace` each seed is printed with the hash of its history, which is the same on
 * every runtime. Without `--world` all are run.
 *
 *   npm run sim -- --planted
 *
 * plants bugs in copies of the tree (planted.ts) and in the replication core
 * (cluster_plants.ts), one after the other, and fails when one is not found.
 *
 * @module
 */

import process from "node:process";
import { argumentsOf, wrongly } from "../arguments.ts";
import { currentRuntime } from "../e2e/server.ts";
import { simulate as simulateBroker } from "./broker_world.ts";
import { huntInCluster, PLANTED_IN_CLUSTER } from "./cluster_plants.ts";
import { simulate as simulateCluster } from "./cluster_world.ts";
import { hunt, PLANTS } from "./planted.ts";
import { simulate as simulateStorage } from "./storage_world.ts";

const WORLDS = {
  storage: simulateStorage,
  broker: simulateBroker,
  cluster: async (seed: number) => simulateCluster(seed),
  failover: async (seed: number) => simulateCluster(seed, { broker: true }),
  late: async (seed: number) => simulateCluster(seed, { late: true }),
} as const;
type WorldName = keyof typeof WORLDS;
const WORLD_NAMES = Object.keys(WORLDS) as WorldName[];

const USAGE = `Usage: npm run sim -- [--world storage|broker|cluster|failover|late] [--seed <first seed>] [--count <how many>] [--trace]
       npm run sim -- --planted [--world <name>] [--only <name>]`;

const values = argumentsOf(
  {
    world: { type: "string" },
    seed: { type: "string", default: "1" },
    count: { type: "string" },
    trace: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
    only: { type: "string" },
  },
  USAGE,
);

interface Run {
  readonly first: number;
  readonly count: number;
  readonly trace: boolean;
}

process.exitCode = values.planted ? await huntAll(values.only) : await runWorlds();

async function runWorlds(): Promise<number> {
  const worlds = WORLD_NAMES.filter((name) => values.world === undefined || values.world === name);
  const first = Number(values.seed);
  // A seed alone is one to replay.
  const count = Number(values.count ?? (process.argv.includes("--seed") ? 1 : 1000));
  const wrong = !Number.isSafeInteger(first) || !Number.isSafeInteger(count);
  if (worlds.length === 0 || wrong || first < 0 || count < 1) wrongly(USAGE);
  for (const world of worlds) {
    const held = await run(world, { first, count, trace: values.trace || count === 1 });
    if (!held) return 1;
  }
  return 0;
}

async function run(world: WorldName, { first, count, trace }: Run): Promise<boolean> {
  const sights = new Map<string, number>();
  const startedAt = performance.now();
  for (let seed = first; seed < first + count; seed++) {
    try {
      const history = await WORLDS[world](seed);
      for (const sight of history.seen) sights.set(sight, (sights.get(sight) ?? 0) + 1);
      if (trace) console.log(`${world} seed ${seed}: trace ${history.trace.toString(16)}`);
    } catch (error) {
      console.error(error);
      const replay = `npm run sim -- --world ${world} --seed ${seed}`;
      console.error(`\nSeed ${seed} failed. Replay it: ${replay}`);
      return false;
    }
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const pace = (count / seconds).toFixed(0);
  console.log(`${count} histories of the ${world} held, ${pace} a second. Seeds that saw a`);
  for (const [sight, times] of [...sights].toSorted(([, a], [, b]) => b - a)) {
    console.log(`  ${sight}: ${times}`);
  }
  return true;
}

async function huntAll(only: string | undefined): Promise<number> {
  const wanted = (name: string, world: string): boolean =>
    (only === undefined || name === only) && (values.world === undefined || world === values.world);
  const plants = PLANTS.filter(({ name, world }) => wanted(name, world));
  const inCluster = PLANTED_IN_CLUSTER.filter(({ name, broker, late }) =>
    wanted(name, broker ? "failover" : late ? "late" : "cluster"),
  );
  const all = plants.length + inCluster.length;
  let missed = all === 0 ? 1 : 0;
  for (const plant of plants) {
    const { seed, said } = await hunt(plant, currentRuntime);
    if (seed === undefined) missed++;
    const outcome = seed === undefined ? `NOT FOUND in ${plant.seeds} seeds` : `seed ${seed}`;
    console.log(`${plant.name}, ${plant.about}: ${outcome}: ${said}`);
  }
  for (const planted of inCluster) {
    const { seed, said } = huntInCluster(planted);
    if (seed === undefined) missed++;
    const outcome = seed === undefined ? `NOT FOUND in ${planted.seeds} seeds` : `seed ${seed}`;
    console.log(`${planted.name}, ${planted.about}: ${outcome}: ${said}`);
  }
  console.log(`${all - missed} of ${all} planted bugs found`);
  return missed === 0 ? 0 : 1;
}
