/**
 * A fault of a broker group under load, again and again:
 *
 *   load ─▶ strike, hold, mend ─▶ publishes go on ─▶ the group is whole ─▶ …
 *
 * Clients speak to the gateways and are never told what happens behind them. After
 * the last fault the publishers stop, consumers and readers finish, everything is
 * killed and started once more and read back; then the logs are compared. The
 * verdict is the checker's, and what is noted on the way.
 *
 * @module
 */

import { join } from "node:path";
import { Prng } from "../../storage/base/prng.ts";
import { request } from "../e2e/http.ts";
import { type RuntimeName, until } from "../e2e/server.ts";
import { Acks, spread } from "./acks.ts";
import { check, type Violation } from "./checker.ts";
import { type Clients, type Crowd, prepare, readBack, startClients } from "./clients.ts";
import { compareLogs } from "./cluster_compare.ts";
import { COORDINATOR_FAULTS } from "./cluster_coordinator_faults.ts";
import { DISK_FAULTS } from "./cluster_disk_faults.ts";
import {
  type Blow,
  type ClusterFault,
  type Means,
  PROCESS_FAULTS,
  resumes,
} from "./cluster_faults.ts";
import { ETCD } from "./cluster_etcd.ts";
import { BrokerGroup, NODES } from "./cluster_group.ts";
import { cannotNamespace, openLoopback, openNamespaces } from "./cluster_net.ts";
import { cannotFail, FailingDisk } from "./failing_disk.ts";
import { cannotLoop, LoopDisk } from "./loop_disk.ts";
import type { OwnDisk } from "./own_disk.ts";
import { needs } from "../fakes/needs.ts";
import { Recorder } from "./recorder.ts";
import { pause, Target } from "./target.ts";

export const CLUSTER_FAULTS = { ...PROCESS_FAULTS, ...COORDINATOR_FAULTS, ...DISK_FAULTS };
export type ClusterFaultName = keyof typeof CLUSTER_FAULTS;
export const CLUSTER_FAULT_NAMES = Object.keys(CLUSTER_FAULTS) as ClusterFaultName[];

export interface ClusterCampaign {
  /** In turn. */
  readonly faults: readonly ClusterFaultName[];
  readonly count: number;
  /** How many brokers: 3 when absent, or 1. */
  readonly brokers?: number | undefined;
  readonly runtime: RuntimeName;
  readonly seed: number;
  readonly dir: string;
  readonly log: (line: string) => void;
}

export interface ClusterResult {
  readonly violations: readonly (Violation | { readonly rule: string; readonly detail: string })[];
  readonly effective: number;
  /** From a fault to the end of the longest silence after it. */
  readonly resumedMs: Spread;
  /** The longest silence. */
  readonly gapMs: Spread;
  /** What was aimed at and not met; a machine that does other things is one reason. */
  readonly missed: readonly string[];
  /** Until the group was whole again, after the fault was over. */
  readonly wholeMs: Spread;
  readonly published: number;
  readonly acked: number;
  readonly unknown: number;
  readonly repeats: number;
  readonly transactions: { readonly begun: number; readonly checked: number };
  readonly stored: number;
  readonly deliveries: number;
}

type Spread = ReturnType<typeof spread>;

const CROWD: Crowd = {
  single: 16,
  batch: 2,
  repeaters: { key: 6, "batch key": 2, sequence: 2 },
  transactors: 4,
  delayers: 2,
  consumers: 6,
};
const LOAD_MS = { least: 500, most: 2000 };
/** What heals by itself heals in this time. */
const WHOLE_MS = 60_000;

function meansOf(faults: readonly ClusterFaultName[]): Set<Means> {
  return new Set(faults.flatMap((fault): readonly Means[] => CLUSTER_FAULTS[fault].needs));
}

/** Why faults cannot be injected here; false where they can. */
export function cannotInCluster(
  faults: readonly ClusterFaultName[],
  brokers: number = NODES.length,
): string | false {
  if (brokers === 1 && meansOf(faults).has("others")) return "is asked for a group of one";
  for (const one of meansOf(faults)) {
    const reason = CANNOT[one]();
    if (reason !== false) return reason;
  }
  return needs("etcd");
}

const CANNOT: Readonly<Record<Means, () => string | false>> = {
  cuts: cannotNamespace,
  disks: cannotLoop,
  errors: cannotFail,
  clocks: () => needs("faketime"),
  others: () => false,
  tracer: () => needs("strace"),
};

export async function runClusterCampaign(options: ClusterCampaign): Promise<ClusterResult> {
  const { runtime, dir, faults } = options;
  const prng = new Prng(options.seed);
  const recorder = new Recorder({ outages: true });
  const acks = new Acks();
  recorder.onAcked = acks.note;
  const target = new Target();
  const nodes = NODES.slice(0, options.brokers);
  const names = [...nodes, ETCD];
  const net = cannotNamespace() === false ? openNamespaces(names) : await openLoopback(names);
  if (!net.cuts) options.log(`!!!! everything on loopback: this machine ${cannotNamespace()}`);
  const means = meansOf(faults);
  const [openDisk, clocks] = [diskOf(means), means.has("clocks")];
  let group: BrokerGroup | undefined;
  try {
    group = await BrokerGroup.open({ runtime, dir, net, nodes, gateways: 2, openDisk, clocks });
    await prepare(group.ports[0] as number);
    target.up(...group.ports);
    const clients = startClients(target, { recorder, prng, crowd: CROWD });
    const complain = (what: string) => recorder.complain(what);
    const blow: Blow = { group, prng, acks, complain, doubts: () => recorder.doubts };
    const measured = await strikeOften(options, { blow, clients, recorder });
    await clients.finish(group.ports[0] as number);
    const final = await readAgain(group);
    for (const node of group.nodes) await node.kill();
    const differences = compareLogs(group.nodes).map((detail) => {
      return { rule: "replicas-differ", detail };
    });
    const { publishes, deliveries } = recorder.history;
    return {
      violations: [...check(recorder.history, final), ...differences],
      ...measured,
      published: publishes.length,
      acked: recorder.acked,
      unknown: publishes.filter((one) => one.outcome === "unknown").length,
      repeats: recorder.repeats,
      transactions: recorder.transactions,
      stored: final.queues.flat().length,
      deliveries: deliveries.length,
    };
  } catch (error) {
    if (group) options.log(group.describe());
    throw error;
  } finally {
    target.stop();
    group?.keepOutput();
    await group?.close();
    net.close();
  }
}

/** What each node's data lies on; undefined: a directory like any other. */
function diskOf(means: ReadonlySet<Means>): ((home: string) => OwnDisk) | undefined {
  if (means.has("errors")) return (home) => new FailingDisk({ path: join(home, "disk") });
  if (!means.has("disks")) return undefined;
  return (home) => new LoopDisk({ image: join(home, "disk.img"), path: join(home, "disk") });
}

async function strikeOften(
  { faults, count, log }: ClusterCampaign,
  { blow, clients, recorder }: { blow: Blow; clients: Clients; recorder: Recorder },
): Promise<Pick<ClusterResult, "effective" | "resumedMs" | "gapMs" | "wholeMs" | "missed">> {
  const { group, prng, acks } = blow;
  const [resumedMs, gapMs, wholeMs]: [number[], number[], number[]] = [[], [], []];
  let effective = 0;
  for (let i = 1; i <= count; i++) {
    await Promise.race([
      pause(LOAD_MS.least + prng.below(LOAD_MS.most - LOAD_MS.least)),
      clients.failed,
    ]);
    const fault = faults[(i - 1) % faults.length] as ClusterFaultName;
    const once = async () => {
      const worked = await CLUSTER_FAULTS[fault].strike(blow);
      await resumes(blow);
      const longest = acks.longest();
      return { worked, ...longest, whole: await group.whole(WHOLE_MS) };
    };
    const outcome = await Promise.race([once(), clients.failed]);
    if (outcome.worked) effective++;
    resumedMs.push(outcome.endedMs);
    gapMs.push(outcome.gapMs);
    wholeMs.push(outcome.whole);
    const [gap, whole] = [outcome.gapMs, outcome.whole].map(Math.round);
    const took = outcome.worked ? "" : ", WITHOUT EFFECT";
    const total = `${recorder.acked} acknowledged, ${recorder.settled} settled`;
    log(`${fault} ${i}/${count}: silent for ${gap} ms, whole after ${whole} ms, ${total}${took}`);
  }
  const spreads = { resumedMs: spread(resumedMs), gapMs: spread(gapMs), wholeMs: spread(wholeMs) };
  return { effective, missed: faults.length === 1 ? missed(faults[0], spreads) : [], ...spreads };
}

/** A campaign of one fault is held to what is aimed at for it. */
function missed(
  fault: ClusterFaultName | undefined,
  { gapMs }: Pick<ClusterResult, "gapMs">,
): string[] {
  const { aim }: Partial<ClusterFault> = fault ? CLUSTER_FAULTS[fault] : {};
  if (!aim) return [];
  const { medianMs = Infinity, p99Ms } = aim;
  return [
    gapMs.median > medianMs ? `median ${gapMs.median} > ${medianMs} ms` : "",
    gapMs.p99 > p99Ms ? `p99 ${gapMs.p99} > ${p99Ms} ms` : "",
  ].filter(Boolean);
}

/** After a kill of all at rest. */
async function readAgain(group: BrokerGroup) {
  await Promise.all(group.nodes.map((node) => node.kill()));
  for (const node of group.nodes) node.start();
  await group.whole(WHOLE_MS);
  const [port] = group.ports as [number];
  const served = async () => {
    const answer = await request(port, { path: "/readyz" }).catch(() => undefined);
    return answer?.status === 200;
  };
  await until(served, "the gateway is ready", WHOLE_MS);
  return readBack(port);
}
