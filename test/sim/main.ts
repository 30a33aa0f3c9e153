/**
 * Runs histories of a simulation, of the storage or of the broker on it, as
 * many as told or until one fails.
 *
 *   npm run sim -- --world storage --seed 1 --count 1000
 *
 * Prints the failing seed with the command that replays it; exit code 1.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { simulate as simulateBroker } from "./broker_world.ts";
import { simulate as simulateStorage } from "./storage_world.ts";

const WORLDS = new Map<string, typeof simulateBroker | typeof simulateStorage>([
  ["storage", simulateStorage],
  ["broker", simulateBroker],
]);

const { values } = parseArgs({
  options: {
    world: { type: "string", default: "storage" },
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "1000" },
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
  count < 1
) {
  console.error(
    "Usage: npm run sim -- --world storage|broker --seed <first seed> --count <how many>",
  );
  process.exit(64);
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
