/**
 * Where the time of a durable POST goes: the rungs of ladder_server.ts, each under the
 * same load in turn, round by round, and what each costs the server for one request.
 *
 * CPU says what a rung costs even where the machine is busy with something else, and is
 * told for the thread of the event loop and for all others: syncs, collector, compiler.
 *
 * @module
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { RUN_ENVIRONMENT } from "../deploy/runtimes.mjs";
import { spawnScript, until } from "../test/e2e/server.ts";
import { load } from "./load.ts";
import { renderTable } from "./report.ts";
import { PAYLOAD } from "./scenario.ts";
import { median } from "./statistics.ts";
import type { BenchRuntime } from "./subjects.ts";

export interface LadderOptions {
  readonly runtimes: readonly BenchRuntime[];
  readonly rounds: number;
  /** Of each rung in each round. */
  readonly seconds: number;
  readonly dataRoot: string;
}

interface Step {
  readonly perSecond: number;
  /** Microseconds of CPU time for one request. */
  readonly loop: number;
  readonly others: number;
}

const CONNECTIONS = 64;

export async function ladder(options: LadderOptions): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) rows.push(...(await climb(runtime, options)));
  const head = ["on", "rung", "req/s", "of empty", "CPU µs each", "event loop", "other threads"];
  return `A POST of 256 B, ${CONNECTIONS} connections:\n\n${renderTable(head, rows)}`;
}

async function climb(
  runtime: BenchRuntime,
  { rounds, seconds, dataRoot }: LadderOptions,
): Promise<string[][]> {
  const dataDir = mkdtempSync(join(dataRoot, "tidegate-ladder-"));
  const server = spawnScript(runtime, "bench/ladder_server.ts", {
    args: [dataDir],
    env: RUN_ENVIRONMENT[runtime],
  });
  try {
    const ready = () => /ladder ready on (.*)/.exec(server.output())?.[1];
    await until(() => ready() !== undefined, "the ladder stands");
    const ports = Object.entries(JSON.parse(ready() ?? "") as Record<string, number>);
    const steps = new Map(ports.map(([name]) => [name, [] as Step[]]));
    for (let round = 0; round <= rounds; round++) {
      for (const [name, port] of ports) {
        const measured = await step(port, { pid: server.child.pid as number, seconds });
        if (round > 0) steps.get(name)?.push(measured); // the first warms up the compiler
      }
    }
    return cellsOf(runtime, steps);
  } catch (error) {
    throw new Error(server.output(), { cause: error });
  } finally {
    await server.kill("SIGKILL");
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function step(
  port: number,
  { pid, seconds }: { readonly pid: number; readonly seconds: number },
): Promise<Step> {
  const before = threadMicros(pid);
  const { count, perSecond } = await load(
    {
      port,
      method: "POST",
      path: "/v1/topics/post/messages",
      headers: { "Content-Type": "application/octet-stream" },
      body: Buffer.from(PAYLOAD),
    },
    { connections: CONNECTIONS, seconds },
  );
  const after = threadMicros(pid);
  const each = (part: "loop" | "others") => (after[part] - before[part]) / count;
  return { perSecond, loop: each("loop"), others: each("others") };
}

/** What the threads of a process have run: the first one, and all others. */
function threadMicros(pid: number): { readonly loop: number; readonly others: number } {
  let [loop, others] = [0, 0];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const ran = Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    if (Number(thread) === pid) loop = ran / 1000;
    else others += ran / 1000;
  }
  return { loop, others };
}

function cellsOf(runtime: BenchRuntime, steps: ReadonlyMap<string, readonly Step[]>): string[][] {
  const empty = steps.get("empty") ?? [];
  return [...steps].map(([name, all]) => {
    const of = (part: keyof Step) => median(all.map((one) => one[part]));
    const ratio = median(all.map((one, i) => one.perSecond / (empty[i]?.perSecond ?? Number.NaN)));
    const total = median(all.map(({ loop, others }) => loop + others));
    return [
      runtime,
      name,
      Math.round(of("perSecond")).toLocaleString("en-US"),
      ratio.toFixed(2),
      ...[total, of("loop"), of("others")].map((micros) => micros.toFixed(1)),
    ];
  });
}
