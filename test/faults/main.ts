/**
 * `npm run faults -- --fault kill --count 20 --runtime bun --seed 1`: faults by
 * hand, as long as wanted.
 *
 *   kill, power, sync, write, errors, full   under load, judged by the history (breakers.ts)
 *   flip, cut                                at rest, in every kind of file (at_rest.ts)
 *   all                                      one after the other
 *
 * `npm run faults -- --world cluster --fault leader-kill --count 100`: the same of a
 * broker group, three brokers, etcd and two gateways (cluster_campaign.ts)
 *
 *   leader-kill, partition, …        under load (cluster_faults.ts)
 *   etcd-kill, …                     of its coordinator (cluster_coordinator_faults.ts)
 *   power, damage, …                 of its disks (cluster_disk_faults.ts)
 *   all                              one after the other; `--brokers 1`: a group of one
 *
 * Prints each, then a line of figures; what cannot be injected here is said
 * loudly. Exits 1 on any violation and then keeps the data directory to look into.
 * `--slice` is a little of everything, for a build machine; `--record` a thousand and more.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argumentsOf, wrongly } from "../arguments.ts";
import { RUNTIMES, type RuntimeName } from "../e2e/server.ts";
import { AT_REST, type AtRest, spoilAtRest } from "./at_rest.ts";
import { cannot, type Fault, FAULTS, openBreaker } from "./breakers.ts";
import { runCampaign } from "./campaign.ts";
import {
  cannotInCluster,
  CLUSTER_FAULT_NAMES,
  type ClusterFaultName,
  runClusterCampaign,
} from "./cluster_campaign.ts";

const SHOWN_MAX = 20;

const names = [...FAULTS, ...AT_REST];
const USAGE = `Usage: npm run faults -- [--fault ${names.join("|")}|all] [--count 20] [--runtime bun|deno|node] [--seed 1]
       npm run faults -- --slice|--record [--runtime …] [--seed 1]
       npm run faults -- --world cluster [--fault all, or some of ${CLUSTER_FAULT_NAMES.join(",")}] [--count 20] [--brokers 1|3] …`;

const values = argumentsOf(
  {
    world: { type: "string", default: "node" },
    fault: { type: "string" },
    count: { type: "string" },
    kills: { type: "string" },
    runtime: { type: "string", default: "bun" },
    brokers: { type: "string", default: "3" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    slice: { type: "boolean", default: false },
    record: { type: "boolean", default: false },
  },
  USAGE,
);

type Counts = Readonly<Record<Fault | AtRest, number>>;

/** What one more costs is seconds for the first few, milliseconds for the last two. */
const SLICE: Counts = {
  ...{ kill: 0, power: 4, sync: 4, write: 4, errors: 4, full: 2 },
  ...{ flip: 120, cut: 120 },
}; // kills have a test of their own
/** A thousand and more. */
const RECORD: Counts = {
  ...{ kill: 40, power: 80, sync: 60, write: 60, errors: 40, full: 20 },
  ...{ flip: 400, cut: 400 },
};

const runtime = RUNTIMES.find((one): one is RuntimeName => one === values.runtime);
const [count, seed] = [Number(values.count ?? values.kills ?? "20"), Number(values.seed)];
const brokers = Number(values.brokers);
const inCluster = values.world === "cluster";
const counts = values.slice ? SLICE : values.record ? RECORD : undefined;
const fault = values.fault ?? (inCluster ? "leader-kill" : "kill");
const chosen = names.filter((name) =>
  counts ? counts[name] > 0 : fault === name || fault === "all",
);
/** Each list is one campaign, of several in turn. */
const campaigns = fault === "all" ? CLUSTER_FAULT_NAMES.map((name) => [name]) : [inTurn(fault)];
const known = inCluster
  ? campaigns.every((list) => list.length > 0)
  : values.world === "node" && chosen.length > 0;
if (!runtime || !(count > 0) || !(seed >= 0) || ![1, 3].includes(brokers) || !known) wrongly(USAGE);

const outcomes: (boolean | undefined)[] = [];
for (const faults of inCluster ? campaigns : []) outcomes.push(await onGroup(faults, count));
for (const fault of inCluster ? [] : chosen) {
  const times = counts?.[fault] ?? count;
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
    show(violations);
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

/** None when one of them is not known. */
function inTurn(list: string): readonly ClusterFaultName[] {
  const found = list.split(",").map((name) => CLUSTER_FAULT_NAMES.find((one) => one === name));
  return found.every((name) => name !== undefined) ? found : [];
}

/** Undefined: it cannot be injected here. */
async function onGroup(
  faults: readonly ClusterFaultName[],
  count: number,
): Promise<boolean | undefined> {
  const fault = faults.join();
  const reason = cannotInCluster(faults, brokers);
  if (reason !== false || !runtime) {
    console.log(
      `!!!! NOT INJECTED, NOT PROVEN HERE: ${fault} of a cluster: this machine ${reason}`,
    );
    return undefined;
  }
  const dir = mkdtempSync(join(tmpdir(), "tidegate-cluster-"));
  const replay = `npm run faults -- --world cluster --fault ${fault} --count ${count} --brokers ${brokers} --seed ${seed}`;
  console.log(`${fault} on ${runtime}: ${count} times, data in ${dir}\n  ${replay}`);
  const log = (line: string) => console.log(line);
  try {
    const options = { faults, count, brokers, runtime, seed, dir, log };
    const { violations, effective, ...figures } = await runClusterCampaign(options);
    show(violations);
    const held = violations.length === 0 && effective > 0;
    const verdict = held ? "PASSED" : `FAILED with ${violations.length} violations`;
    const injected = `injected ${count}, effective ${effective}`;
    console.log(
      `${verdict}: cluster, ${fault}, ${runtime}, seed ${seed}, ${injected}, ${JSON.stringify(figures)}`,
    );
    if (held) rmSync(dir, { recursive: true });
    return held;
  } catch (error) {
    console.error(error);
    console.log(`FAILED: cluster, ${fault}, ${runtime}, seed ${seed}: it did not get to its end`);
    return false;
  }
}

function show(violations: readonly { readonly rule: string; readonly detail: string }[]): void {
  for (const { rule, detail } of violations.slice(0, SHOWN_MAX)) console.log(`${rule}: ${detail}`);
  if (violations.length > SHOWN_MAX) console.log(`… and ${violations.length - SHOWN_MAX} more`);
}

async function atRest(fault: AtRest, count: number): Promise<boolean> {
  const { violations, ...figures } = await spoilAtRest(fault, { count, seed });
  for (const line of violations.slice(0, SHOWN_MAX)) console.log(line);
  const held = violations.length === 0 && figures.effective > 0;
  const verdict = held ? "PASSED" : `FAILED with ${violations.length} violations`;
  console.log(`${verdict}: ${fault}, seed ${seed}, injected ${count}, ${JSON.stringify(figures)}`);
  return held;
}
