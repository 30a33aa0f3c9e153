/**
 * Runs histories of a simulation, of the storage, of the broker on it or of a
 * broker group, as many as told or until one fails.
 *
 *   npm run sim -- --world storage --seed 1 --count 1000
 *   npm run sim -- --world cluster --planted --count 10000
 *
 * Prints the failing seed with the command that replays it; exit code 1. With
 * `--planted` each known bug is put into the cluster in turn, and histories are run
 * until one breaks: exit code 1 when one never does.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { simulate as simulateBroker } from "./broker_world.ts";
import { hunt, PLANTED } from "./cluster_plants.ts";
import { simulate as simulateCluster } from "./cluster_world.ts";
import { simulate as simulateStorage } from "./storage_world.ts";

interface History {
  readonly trace: number;
  readonly seen: ReadonlySet<string>;
}

const WORLDS = new Map<string, (seed: number) => History | Promise<History>>([
  ["storage", simulateStorage],
  ["broker", simulateBroker],
  ["cluster", (seed) => simulateCluster(seed)],
]);

const { values } = parseArgs({
  options: {
    world: { type: "string", default: "storage" },
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1000" },
    planted: { type: "boolean", default: false },
  },
});
const { world } = values;
const simulate = WORLDS.get(world);
const first = Number(values.seed);
const count = Number(values.count);
if (
  !simulate ||
  !Number.isSafeInteger(first) ||
  !Number.isSafeInteger(count) ||
  first < 0 ||
  count < 1 ||
  (values.planted && world !== "cluster")
) {
  console.error(
    "Usage: npm run sim -- --world storage|broker|cluster --seed <first seed> --count <how many> [--planted]",
  );
  process.exit(64);
}

if (values.planted) {
  let missed = 0;
  for (const planted of PLANTED) {
    const { seeds, what } = hunt(planted, count);
    if (!seeds) missed++;
    const result = seeds
      ? `found in history ${seeds}: ${what.split("\n")[0]?.slice(0, 100)}`
      : "NOT FOUND";
    console.log(`${planted.name}: ${result}`);
  }
  console.log(`${PLANTED.length - missed} of ${PLANTED.length} planted bugs were found`);
  process.exit(missed > 0 ? 1 : 0);
}

const sights = new Map<string, number>();
const startedAt = performance.now();
for (let seed = first; seed < first + count; seed++) {
  try {
    const history = await simulate(seed);
    for (const sight of history.seen) sights.set(sight, (sights.get(sight) ?? 0) + 1);
    if (count === 1) console.log(`seed ${seed}: trace ${history.trace.toString(16)}`);
  } catch (error) {
    console.error(error);
    console.error(
      `\nSeed ${seed} failed. Replay it: npm run sim -- --world ${world} --seed ${seed} --count 1`,
    );
    process.exit(1);
  }
}
const seconds = (performance.now() - startedAt) / 1000;
console.log(`${count} histories held, ${(count / seconds).toFixed(0)} a second. Seeds that saw a`);
for (const [sight, times] of [...sights].toSorted(([, a], [, b]) => b - a)) {
  console.log(`  ${sight}: ${times}`);
}
