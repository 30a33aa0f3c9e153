/**
 * How long the event loop is held while a broker does everything at once: the same
 * load over segments that are never full, and over such as are sealed again and
 * again, with their snapshots, timer files, dedupe runs, cuts and a scrubber.
 * What the second holds more than the first is what all that costs.
 *
 * @module
 */

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { spawnScript } from "../test/e2e/server.ts";
import type { Held } from "./loop_work.ts";
import { renderTable } from "./report.ts";
import type { BenchRuntime } from "./subjects.ts";

const MiB = 1024 ** 2;
const SIZES = [1024 * MiB, 8 * MiB] as const;

export async function loop(options: {
  readonly runtimes: readonly (BenchRuntime | "node")[];
  readonly seconds: number;
  readonly dataRoot: string;
}): Promise<string> {
  const rows: string[][] = [];
  for (const runtime of options.runtimes) {
    for (const segmentBytes of SIZES) {
      const dir = mkdtempSync(join(options.dataRoot, "tidegate-loop-"));
      try {
        rows.push(cells(runtime, await run(runtime, [dir, segmentBytes, options.seconds])));
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    }
  }
  const head = [
    "on",
    "segments",
    "msg/s",
    "p99",
    "p99.9",
    "over 5 ms",
    "longest",
    "in",
    "longest calls",
  ];
  return `The event loop, held (ms):\n\n${renderTable(head, rows)}`;
}

function cells(runtime: string, held: Held): string[] {
  const ms = (value: number) => value.toFixed(1);
  const { segments, perSecond, p99, p999, over, longest, parts, calls } = held;
  const rate = Math.round(perSecond).toLocaleString("en-US");
  return [
    runtime,
    String(segments),
    rate,
    ms(p99),
    ms(p999),
    String(over),
    ms(longest),
    parts,
    calls,
  ];
}

async function run(
  runtime: BenchRuntime | "node",
  [dataDir, segmentBytes, seconds]: readonly [string, number, number],
): Promise<Held> {
  const args = [dataDir, String(segmentBytes), String(seconds)];
  const script = spawnScript(runtime, "bench/loop_work.ts", { args });
  const { code } = await script.exited;
  const line = /^\{.*\}$/m.exec(script.output())?.[0];
  if (code !== 0 || line === undefined) throw new Error(`loop failed:\n${script.output()}`);
  return JSON.parse(line) as Held;
}
