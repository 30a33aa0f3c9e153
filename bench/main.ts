/**
 * `npm run bench`: real servers, driven over HTTP, always beside an empty
 * handler on the same runtime in the same run, round by round in turn.
 *
 *   --quick             short rounds and small amounts: does everything run?
 *   --only read,fanout  these only; also `idle`, `backlog`, `delay`, `ladder`, `loop`, `rpc`,
 *                       `gateway`, `group`, `storage` and `topics`, which only run when named
 *   --pending 10000000  how many messages `delay` schedules
 *   --filled 30000000   how many messages lie in the log that `storage` starts on
 *   --topics 1000000    how many topics `topics` makes
 *   --runtime bun       this runtime only
 *   --rounds 5 --seconds 3
 *   --data-dir D        where the log lies: the disk is half of what is measured
 *
 * Runs on Bun. Figures are worth something in relation to each other and to
 * the machine they are printed with.
 *
 * @module
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argumentsOf, wrongly } from "../test/arguments.ts";
import { backlog } from "./backlog.ts";
import { delay } from "./delay.ts";
import { fanout, steady } from "./fanout.ts";
import { gateway } from "./gateway.ts";
import { group } from "./group.ts";
import { idle } from "./idle.ts";
import { describeMachine } from "./machine.ts";
import { ladder } from "./ladder.ts";
import { loop } from "./loop.ts";
import { batch, post, postKeyed } from "./publish.ts";
import { consume, read } from "./read.ts";
import { rpc } from "./rpc.ts";
import { type Figure, renderRows, type Row } from "./report.ts";
import type { Measured, Scenario, Settings } from "./scenario.ts";
import { storage } from "./storage.ts";
import {
  type BenchRuntime,
  cpuSeconds,
  startEmpty,
  startTidegate,
  type Subject,
} from "./subjects.ts";
import { topics } from "./topics.ts";

const SCENARIOS: readonly Scenario[] = [post, postKeyed, batch, read, consume, fanout, steady];

const named = [
  ...["idle", "backlog", "delay", "ladder", "loop", "rpc"],
  ...["gateway", "group", "storage", "topics"],
];
const known = [...named, ...SCENARIOS.map(({ id }) => id)];
const USAGE = `Usage: npm run bench -- [--quick] [--only ${known.join(",")}]
       [--runtime bun|deno] [--rounds 5] [--seconds 3] [--data-dir DIR]
       [--pending 10000000] [--filled 30000000] [--topics 1000000]`;

const values = argumentsOf(
  {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    runtime: { type: "string" },
    rounds: { type: "string" },
    pending: { type: "string" },
    filled: { type: "string" },
    topics: { type: "string" },
    seconds: { type: "string" },
    "data-dir": { type: "string", default: tmpdir() },
  },
  USAGE,
);

const settings: Settings = {
  quick: values.quick,
  seconds: Number(values.seconds ?? (values.quick ? 1 : 3)),
};
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
const runtimes = (["bun", "deno"] as const).filter(
  (one) => values.runtime === undefined || values.runtime === one,
);
const only = values.only?.split(",");
const chosen = SCENARIOS.filter(({ id }) => !only || only.includes(id));
if (runtimes.length === 0 || !(rounds > 0) || only?.some((id) => !known.includes(id)))
  wrongly(USAGE);

mkdirSync(values["data-dir"], { recursive: true });
console.log(`${describeMachine(runtimes, values["data-dir"])}\n`);
const rows: Row[] = [];
for (const runtime of runtimes) {
  for (const scenario of chosen) rows.push(await measure(scenario, runtime));
}
if (rows.length > 0) console.log(`${renderRows(rows)}\n`);
if (only?.includes("idle")) {
  // An idle reader cannot be hurried: a short soak shows that it runs, a minute shows the figures.
  const seconds = values.seconds === undefined ? (settings.quick ? 10 : 60) : settings.seconds;
  const count = settings.quick ? 200 : 2000;
  console.log(await idle({ runtimes, seconds, count, dataRoot: values["data-dir"] }));
}
if (only?.includes("backlog")) {
  const count = settings.quick ? 20_000 : 1_000_000;
  console.log(await backlog({ runtimes, count, dataRoot: values["data-dir"] }));
}

if (only?.includes("delay")) {
  const dueCount = settings.quick ? 5000 : 100_000;
  const pendingCount = Number(values.pending ?? (settings.quick ? 20_000 : 1_000_000));
  console.log(await delay({ runtimes, dueCount, pendingCount, dataRoot: values["data-dir"] }));
}

if (only?.includes("loop")) {
  const seconds = values.seconds === undefined ? (settings.quick ? 3 : 20) : settings.seconds;
  console.log(await loop({ runtimes, seconds, dataRoot: values["data-dir"] }));
}

if (only?.includes("ladder")) {
  const { seconds } = settings;
  console.log(await ladder({ runtimes, rounds, seconds, dataRoot: values["data-dir"] }));
}

if (only?.includes("rpc")) {
  const { seconds } = settings;
  console.log(await rpc({ runtimes, rounds, seconds, dataRoot: values["data-dir"] }));
}

if (only?.includes("gateway")) {
  const { seconds } = settings;
  console.log(await gateway({ runtimes, rounds, seconds, dataRoot: values["data-dir"] }));
}

if (only?.includes("group")) {
  const { seconds } = settings;
  console.log(await group({ runtimes, rounds, seconds, dataRoot: values["data-dir"] }));
}

if (only?.includes("storage")) {
  const count = settings.quick ? 100_000 : 5_000_000;
  const filled = Number(values.filled ?? (settings.quick ? 100_000 : 30_000_000));
  console.log(await storage({ runtimes, count, filled, dataRoot: values["data-dir"] }));
}

if (only?.includes("topics")) {
  const count = Number(values.topics ?? (settings.quick ? 2000 : 1_000_000));
  console.log(
    await topics({ runtimes, count, seconds: settings.seconds, dataRoot: values["data-dir"] }),
  );
}

/** A scenario has processes and a data directory of its own: none pays for another's. */
async function measure(scenario: Scenario, runtime: BenchRuntime): Promise<Row> {
  const dataDir = mkdtempSync(join(values["data-dir"], "tidegate-bench-"));
  const running: Subject[] = [];
  try {
    const [tidegate, empty] = [await startTidegate(runtime, dataDir), await startEmpty(runtime)];
    running.push(tidegate, empty);
    const round = await scenario.prepare({ tidegate, empty }, settings);
    const figures: { tidegate: Figure[]; empty: Figure[] } = { tidegate: [], empty: [] };
    for (let index = 0; index <= rounds; index++) {
      await round.refill?.();
      figures.tidegate.push(await withCpu(tidegate, () => round.tidegate()));
      figures.empty.push(await withCpu(empty, () => round.empty()));
    }
    // The first round of each warms up the compiler and is not counted.
    figures.tidegate.shift();
    figures.empty.shift();
    round.close?.();
    const { title, unit } = scenario;
    console.error(`${runtime}: ${title}: done`);
    return { title, unit, runtime, adapter: tidegate.adapter, ...figures };
  } finally {
    for (const subject of running) await subject.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function withCpu(subject: Subject, round: () => Promise<Measured>): Promise<Figure> {
  const before = cpuSeconds(subject.pid);
  const measured = await round();
  return { ...measured, cpuMicros: ((cpuSeconds(subject.pid) - before) / measured.count) * 1e6 };
}
