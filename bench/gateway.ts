/**
 * What a cluster costs a publish: the same requests to `serve`, and to a gateway that
 * calls a broker in another process, in turn in one run.
 *
 * On one machine three processes share what two have: a gateway has a machine of its own.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { spawnScript, until } from "../test/e2e/server.ts";
import { client, putTopic } from "../test/e2e/wire.ts";
import { load } from "./load.ts";
import { renderTable } from "./report.ts";
import { type Measured, PAYLOAD, times } from "./scenario.ts";
import { median } from "./statistics.ts";
import { batchBody } from "./publish.ts";
import { type BenchRuntime, startTidegate } from "./subjects.ts";

export interface GatewayBenchOptions {
  readonly runtimes: readonly BenchRuntime[];
  readonly rounds: number;
  /** Of each of the four measurements of a round. */
  readonly seconds: number;
  readonly dataRoot: string;
}

const BATCH = 500;
const TOPIC = "bench";

/** Of `serve` and of the gateway, round by round. */
interface Figures {
  readonly serve: Measured[];
  readonly gateway: Measured[];
}

export async function gateway(options: GatewayBenchOptions): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) rows.push(...(await measure(runtime, options)));
  const head = ["on", "", "serve, msg/s", "p50, ms", "through a gateway", "p50, ms", "ratio"];
  return `Through a gateway and one broker, 256 B:\n\n${renderTable(head, rows)}`;
}

async function measure(
  runtime: BenchRuntime,
  { dataRoot, seconds, rounds }: GatewayBenchOptions,
): Promise<string[][]> {
  const dirs = ["serve", "broker"].map((name) => mkdtempSync(join(dataRoot, `tidegate-${name}-`)));
  const [serveDir = "", brokerDir = ""] = dirs;
  const serve = await startTidegate(runtime, serveDir);
  const broker = spawnScript(runtime, "bench/rpc_server.ts", { args: [brokerDir, "1"] });
  const scripts = [broker];
  try {
    const rpcPort = await portOf(broker);
    const front = spawnScript(runtime, "bench/gateway_front.ts", { args: [String(rpcPort)] });
    scripts.push(front);
    const ports = { serve: serve.port, gateway: await portOf(front) };
    for (const port of Object.values(ports)) await putTopic(client(port), TOPIC);
    return [
      row(
        runtime,
        "publish, 64 connections",
        await turns(rounds, ports, (port) => single(port, seconds)),
      ),
      row(
        runtime,
        `batches of ${BATCH}, 8 connections`,
        await turns(rounds, ports, (port) => batched(port, seconds)),
      ),
    ];
  } finally {
    for (const script of scripts) await script.kill("SIGKILL");
    await serve.stop();
    for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
  }
}

async function portOf(script: ReturnType<typeof spawnScript>): Promise<number> {
  const port = () => Number(/ready on (\d+)/.exec(script.output())?.[1]);
  await until(() => port() > 0, "the process is ready");
  return port();
}

/** The first round of each warms up the compilers and is not counted. */
async function turns(
  rounds: number,
  ports: { readonly serve: number; readonly gateway: number },
  round: (port: number) => Promise<Measured>,
): Promise<Figures> {
  const figures: Figures = { serve: [], gateway: [] };
  for (let i = 0; i <= rounds; i++) {
    figures.serve.push(await round(ports.serve));
    figures.gateway.push(await round(ports.gateway));
  }
  figures.serve.shift();
  figures.gateway.shift();
  return figures;
}

function single(port: number, seconds: number): Promise<Measured> {
  const headers = { "Content-Type": "application/octet-stream" };
  const path = `/v1/topics/${TOPIC}/messages`;
  const body = Buffer.from(PAYLOAD);
  return load({ port, method: "POST", path, headers, body }, { connections: 64, seconds });
}

async function batched(port: number, seconds: number): Promise<Measured> {
  const headers = { "Content-Type": "application/json" };
  const path = `/v1/topics/${TOPIC}/messages/batch`;
  const request = { port, method: "POST", path, headers, body: batchBody(BATCH) } as const;
  return times(BATCH, await load(request, { connections: 8, seconds }));
}

function row(runtime: string, what: string, { serve, gateway: routed }: Figures): string[] {
  const rate = (all: readonly Measured[]) => median(all.map(({ perSecond }) => perSecond));
  const p50 = (all: readonly Measured[]) => median(all.map(({ p50Ms = 0 }) => p50Ms)).toFixed(2);
  const whole = (value: number) => Math.round(value).toLocaleString("en-US");
  const ratios = serve.map(({ perSecond }, i) => (routed[i]?.perSecond ?? 0) / perSecond);
  const ratio = median(ratios).toFixed(2);
  return [runtime, what, whole(rate(serve)), p50(serve), whole(rate(routed)), p50(routed), ratio];
}
