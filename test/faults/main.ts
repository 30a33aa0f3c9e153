/**
 * `npm run faults -- --fault kill --count 20 --runtime bun --seed 1`: faults by
 * hand, as long as wanted.
 *
 *   kill, power, sync, write, full   under load, judged by the history (breakers.ts)
 *   flip, cut                        at rest, in every kind of file (at_rest.ts)
 *   all                              one after the other
 *
 * Prints each, then a line of figures; what cannot be injected here is said
 * loudly. Exits 1 on any violation and then keeps the data directory to look into.
 * `--slice` is a little of everything, for a build machine.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { RUNTIMES, type RuntimeName } from "../e2e/server.ts";
import { AT_REST, type AtRest, spoilAtRest } from "./at_rest.ts";
import { cannot, type Fault, FAULTS, openBreaker } from "./breakers.ts";
import { runCampaign } from "./campaign.ts";

const SHOWN_MAX = 20;

const { values } = parseArgs({
  options: {
    fault: { type: "string", default: "kill" },
    count: { type: "string" },
    kills: { type: "string" },
    runtime: { type: "string", default: "bun" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    slice: { type: "boolean", default: false },
  },
});

/** What one more costs is seconds for the first few, milliseconds for the last two. */
const SLICE: Readonly<Record<Fault | AtRest, number>> = {
  kill: 0, // a test of its own
  power: 4,
  sync: 4,
  write: 4,
  full: 2,
  flip: 120,
  cut: 120,
};

const runtime = RUNTIMES.find((one): one is RuntimeName => one === values.runtime);
const [count, seed] = [Number(values.count ?? values.kills ?? "20"), Number(values.seed)];
const names = [...FAULTS, ...AT_REST];
const chosen = names.filter((name) =>
  values.slice ? SLICE[name] > 0 : values.fault === name || values.fault === "all",
);
if (!runtime || !(count > 0) || !(seed >= 0) || chosen.length === 0) {
  console.error(
    `Usage: faults [--fault ${names.join("|")}|all] [--count 20] [--runtime bun|deno|node] [--seed 1]`,
  );
  process.exit(64);
}

const outcomes: (boolean | undefined)[] = [];
for (const fault of chosen) {
  const times = values.slice ? SLICE[fault] : count;
  outcomes.push(isAtRest(fault) ? await atRest(fault, times) : await underLoad(fault, times));
}
const failed = outcomes.filter((held) => held === false).length;
console.log(`${outcomes.filter((held) => held === true).length} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function isAtRest(fault: Fault | AtRest): fault is AtRest {
  return (AT_REST as readonly string[]).includes(fault);
}

/** Undefined: it cannot be injected here. */
async function underLoad(fault: Fault, count: number): Promise<boolean | undefined> {
  const reason = cannot(fault);
  if (reason !== false || !runtime) {
    console.log(`!!!! NOT INJECTED, NOT PROVEN HERE: ${fault}: this machine ${reason}`);
    return undefined;
  }
  const dir = mkdtempSync(join(tmpdir(), "tidegate-faults-"));
  const { breaker, dataDir } = openBreaker(fault, { runtime, dir });
  console.log(`${fault} on ${runtime}: ${count} times, seed ${seed}, data in ${dataDir}`);
  const log = (line: string) => console.log(line);
  try {
    const options = { runtime, dataDir, seed, kills: count, breaker, log };
    const { violations, effective, ...figures } = await runCampaign(options);
    for (const { rule, detail } of violations.slice(0, SHOWN_MAX))
      console.log(`${rule}: ${detail}`);
    if (violations.length > SHOWN_MAX) console.log(`… and ${violations.length - SHOWN_MAX} more`);
    const held = violations.length === 0 && effective > 0;
    const verdict = held ? "PASSED" : `FAILED with ${violations.length} violations`;
    const injected = `injected ${count}, effective ${effective}`;
    console.log(
      `${verdict}: ${fault}, ${runtime}, seed ${seed}, ${injected}, ${JSON.stringify(figures)}`,
    );
    if (!held) return false;
  } finally {
    breaker.close?.();
  }
  rmSync(dir, { recursive: true });
  return true;
}

async function atRest(fault: AtRest, count: number): Promise<boolean> {
  const { violations, ...figures } = await spoilAtRest(fault, { count, seed });
  for (const line of violations.slice(0, SHOWN_MAX)) console.log(line);
  const held = violations.length === 0 && figures.effective > 0;
  const verdict = held ? "PASSED" : `FAILED with ${violations.length} violations`;
  console.log(`${verdict}: ${fault}, seed ${seed}, injected ${count}, ${JSON.stringify(figures)}`);
  return held;
}
