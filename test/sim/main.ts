/**
 * Runs histories of the storage simulation until told or until one fails.
 *
 *   npm run sim -- --seed 1 --count 1000
 *
 * Prints the failing seed with the command that replays it; exit code 1.
 *
 * @module
 */

import process from "node:process";
import { parseArgs } from "node:util";
import { simulate } from "./storage_world.ts";

const { values } = parseArgs({
  options: { seed: { type: "string", default: "1" }, count: { type: "string", default: "1000" } },
});
const first = Number(values.seed);
const count = Number(values.count);
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || first < 0 || count < 1) {
  console.error("Usage: npm run sim -- --seed <first seed> --count <how many>");
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
    console.error(`\nSeed ${seed} failed. Replay it: npm run sim -- --seed ${seed} --count 1`);
    process.exit(1);
  }
}
const seconds = (performance.now() - startedAt) / 1000;
console.log(`${count} histories held, ${(count / seconds).toFixed(0)} a second. Seeds that saw a`);
for (const [sight, times] of [...sights].toSorted(([, a], [, b]) => b - a)) {
  console.log(`  ${sight}: ${times}`);
}
