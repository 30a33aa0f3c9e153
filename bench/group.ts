/**
 * What three copies cost a publish: the same requests to `serve`, and to a gateway before
 * a broker group of three, in turn in one run. Topics are `durable`: an answer means that
 * the message is synced, on one disk there and on three here.
 *
 * On one machine the three share a disk and what processors there are, with the gateway,
 * etcd and the load: they have machines of their own.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { client, putTopic } from "../test/e2e/wire.ts";
import { ETCD } from "../test/faults/cluster_etcd.ts";
import { BrokerGroup, NODES } from "../test/faults/cluster_group.ts";
import { openLoopback } from "../test/faults/cluster_net.ts";
import { load } from "./load.ts";
import { renderTable } from "./report.ts";
import { type Measured, PAYLOAD } from "./scenario.ts";
import { median } from "./statistics.ts";
import { type BenchRuntime, startTidegate } from "./subjects.ts";

export interface GroupBenchOptions {
  readonly runtimes: readonly BenchRuntime[];
  readonly rounds: number;
  /** Of each measurement of a round. */
  readonly seconds: number;
  readonly dataRoot: string;
}

const TOPIC = "bench";
const CONNECTIONS = [1, 64];

export async function group(options: GroupBenchOptions): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) rows.push(...(await measure(runtime, options)));
  const figures = ["msg/s", "p50, ms", "p99, ms"];
  const head = ["on", "", ...figures.map((one) => `serve, ${one}`), ...figures, "ratio"];
  return `Durable publishes to a broker group of three, through a gateway, 256 B:\n\n${renderTable(head, rows)}`;
}

async function measure(
  runtime: BenchRuntime,
  { dataRoot, seconds, rounds }: GroupBenchOptions,
): Promise<string[][]> {
  const dir = mkdtempSync(join(dataRoot, "tidegate-group-"));
  const net = await openLoopback([...NODES, ETCD]);
  const options = { runtime, dir, net, gateways: 1, disks: false, clocks: false };
  const serve = await startTidegate(runtime, join(dir, "serve"));
  let brokers: BrokerGroup | undefined;
  try {
    brokers = await BrokerGroup.open(options);
    const ports = [serve.port, brokers.ports[0] as number] as const;
    for (const port of ports) await putTopic(client(port), TOPIC);
    const rows: string[][] = [];
    for (const connections of CONNECTIONS) {
      const figures = await turns(rounds, ports, (port) => publish(port, { connections, seconds }));
      const what = `publish, ${connections} ${connections === 1 ? "connection" : "connections"}`;
      rows.push([runtime, what, ...row(figures)]);
    }
    return rows;
  } finally {
    await brokers?.close();
    await serve.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

type Figures = readonly { readonly serve: Measured; readonly three: Measured }[];

/** The first round warms up the compilers and is not counted. */
async function turns(
  rounds: number,
  [serve, three]: readonly [serve: number, three: number],
  round: (port: number) => Promise<Measured>,
): Promise<Figures> {
  const figures: { serve: Measured; three: Measured }[] = [];
  for (let i = 0; i <= rounds; i++) {
    figures.push({ serve: await round(serve), three: await round(three) });
  }
  return figures.slice(1);
}

function publish(
  port: number,
  options: { readonly connections: number; readonly seconds: number },
): Promise<Measured> {
  const headers = { "Content-Type": "application/octet-stream" };
  const path = `/v1/topics/${TOPIC}/messages`;
  return load({ port, method: "POST", path, headers, body: Buffer.from(PAYLOAD) }, options);
}

function row(figures: Figures): string[] {
  const side = (all: readonly Measured[]) => {
    const rate = Math.round(median(all.map(({ perSecond }) => perSecond)));
    const ms = (of: (one: Measured) => number) => median(all.map(of)).toFixed(2);
    return [
      rate.toLocaleString("en-US"),
      ms(({ p50Ms = 0 }) => p50Ms),
      ms(({ p99Ms = 0 }) => p99Ms),
    ];
  };
  const ratio = median(figures.map(({ serve, three }) => three.perSecond / serve.perSecond));
  return [
    ...side(figures.map(({ serve }) => serve)),
    ...side(figures.map(({ three }) => three)),
    ratio.toFixed(2),
  ];
}
