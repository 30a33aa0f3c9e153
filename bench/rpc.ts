/**
 * Calls between two processes over one connection on loopback, and 256 B publishes
 * through them beside the same publishes by direct calls in the broker's process,
 * in turn in one run.
 *
 * Direct calls have both cores of a small machine to themselves; through RPC the
 * client's process takes its part of them, as a gateway does.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { spawnScript, until } from "../test/e2e/server.ts";
import { renderTable } from "./report.ts";
import type { Rate } from "./rpc_calls.ts";
import { median } from "./statistics.ts";
import type { BenchRuntime } from "./subjects.ts";

export interface RpcOptions {
  readonly runtimes: readonly BenchRuntime[];
  readonly rounds: number;
  /** Of each of the six measurements of a round. */
  readonly seconds: number;
  readonly dataRoot: string;
}

type Figures = Record<
  "small" | "smallAlone" | "remote" | "direct" | "remoteMany" | "directMany",
  Rate
>;

export async function rpc(options: RpcOptions): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) {
    const dataDir = mkdtempSync(join(options.dataRoot, "tidegate-rpc-"));
    const server = spawnScript(runtime, "bench/rpc_server.ts", { args: [dataDir] });
    try {
      const port = () => Number(/ready on (\d+)/.exec(server.output())?.[1]);
      await until(() => port() > 0, "the broker is ready");
      rows.push(cells(runtime, await measured(runtime, { ...options, port: port() })));
    } catch (error) {
      throw new Error(server.output(), { cause: error });
    } finally {
      await server.kill("SIGKILL");
      rmSync(dataDir, { recursive: true, force: true });
    }
  }
  const head = [
    "on",
    "calls/s, 128 under way",
    "one at a time, µs",
    "publish, 64 under way",
    "direct",
    "ratio",
    "publish, 512 under way",
    "direct",
    "ratio",
  ];
  return `Calls over one connection on loopback, 256 B:\n\n${renderTable(head, rows)}`;
}

async function measured(
  runtime: BenchRuntime,
  { port, rounds, seconds }: RpcOptions & { readonly port: number },
): Promise<Figures[]> {
  const args = [port, rounds, seconds].map(String);
  const client = spawnScript(runtime, "bench/rpc_client.ts", { args });
  const { code } = await client.exited;
  const figures = client
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Figures);
  if (code !== 0 || figures.length !== rounds) throw new Error(client.output());
  return figures;
}

function cells(runtime: string, figures: readonly Figures[]): string[] {
  const rate = (name: keyof Figures) => median(figures.map((one) => one[name].perSecond));
  const ratio = (remote: keyof Figures, direct: keyof Figures) =>
    median(figures.map((one) => one[remote].perSecond / one[direct].perSecond)).toFixed(2);
  const whole = (value: number) => Math.round(value).toLocaleString("en-US");
  return [
    runtime,
    whole(rate("small")),
    (1e6 / rate("smallAlone")).toFixed(0),
    whole(rate("remote")),
    whole(rate("direct")),
    ratio("remote", "direct"),
    whole(rate("remoteMany")),
    whole(rate("directMany")),
    ratio("remoteMany", "directMany"),
  ];
}
