/**
 * `npm run faults -- --kills 20 --runtime bun --seed 1`: the kill -9 campaign
 * by hand, as long as wanted. Prints each kill, then one summary line; exits 1
 * on any violation and then keeps the data directory to look into.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { RUNTIMES, type RuntimeName } from "../e2e/server.ts";
import { runCampaign } from "./campaign.ts";

const SHOWN_MAX = 20;

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "20" },
    runtime: { type: "string", default: "bun" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});

const runtime = RUNTIMES.find((one): one is RuntimeName => one === values.runtime);
const [kills, seed] = [Number(values.kills), Number(values.seed)];
if (!runtime || !(kills > 0) || !(seed >= 0)) {
  console.error("Usage: faults [--kills 20] [--runtime bun|deno|node] [--seed 1]");
  process.exit(64);
}

const dataDir = mkdtempSync(join(tmpdir(), "tidegate-faults-"));
console.log(`kill -9 campaign on ${runtime}: ${kills} kills, seed ${seed}, data in ${dataDir}`);
const { violations, ...figures } = await runCampaign({
  runtime,
  dataDir,
  seed,
  kills,
  log: (line) => console.log(line),
});
for (const { rule, detail } of violations.slice(0, SHOWN_MAX)) console.log(`${rule}: ${detail}`);
if (violations.length > SHOWN_MAX) console.log(`… and ${violations.length - SHOWN_MAX} more`);
if (violations.length === 0) rmSync(dataDir, { recursive: true });
const verdict = violations.length === 0 ? "PASSED" : `FAILED with ${violations.length} violations`;
console.log(`${verdict}: ${runtime}, seed ${seed}, ${kills} kills, ${JSON.stringify(figures)}`);
process.exit(violations.length === 0 ? 0 : 1);
