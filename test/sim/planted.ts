/**
 * Bugs planted in a copy of the tree, to see whether the simulator finds them: a
 * tester that cannot fail proves nothing. Each was made by somebody before us, in
 * another broker; the product never holds one.
 *
 * A plant is a patch that must apply exactly once, so that it dies with the code it
 * was made for and is then planted anew.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, type RuntimeName, commandLine } from "../e2e/server.ts";

export interface Plant {
  readonly name: string;
  /** What it does wrong. */
  readonly about: string;
  readonly world: "storage" | "broker" | "failover";
  /** It must be found within so many. */
  readonly seeds: number;
  readonly patches: readonly {
    readonly file: string;
    readonly find: string;
    readonly put: string;
  }[];
}

const PLANTED: readonly Plant[] = [
  {
    name: "M6",
    about: "answers before the sync is over",
    world: "storage",
    seeds: 200,
    patches: [
      {
        file: "storage/flusher.ts",
        find: "await batch.synced;",
        put: "batch.synced.catch((error: unknown) => this.fail(error));",
      },
    ],
  },
  {
    name: "M7",
    about: "tries a failed sync again, and believes the second",
    world: "storage",
    seeds: 200,
    patches: [
      {
        file: "storage/flusher.ts",
        find: "synced: active.file.sync() }",
        put: "synced: active.file.sync().catch(() => active.file.sync()) }",
      },
    ],
  },
  {
    name: "M8",
    about: "cuts the log at the first bad checksum",
    world: "storage",
    seeds: 200,
    patches: [
      {
        file: "storage/recovery.ts",
        find: "return facts.at < facts.durableEnd || facts.segmentFollows || facts.confirmedBehind > facts.at;",
        put: "return facts.segmentFollows;",
      },
    ],
  },
  {
    name: "M12",
    about: "lets a late decision hit the producer's next transaction",
    world: "broker",
    seeds: 200,
    patches: [
      {
        file: "src/broker/transaction_decide.ts",
        find: "  const transaction = transactionOf(core, wish);\n  const { state } = transaction;",
        put: `  const named = transactionOf(core, wish);
  const open = [...core.fold.transactions.list(now, "open")];
  const next = open.find((one) => one.producerGroup === named.producerGroup);
  const transaction = isDecided(named) ? (next ?? named) : named;
  const { state } = transaction;`,
      },
    ],
  },
  {
    name: "M14",
    about: "revives the first message from the place of a lease on, not the one that was leased",
    world: "broker",
    seeds: 200,
    patches: [
      {
        file: "src/broker/grant.ts",
        find: "    if (!message || !isCurrent(message, at)) continue; // settled or extended since",
        put: `    if (!message) continue;
    if (!isCurrent(message, at)) {
      const open = [...message.queue.open.values()];
      const next = open.find((one) => one.queueOffset >= message.queueOffset && !one.released);
      if (next) next.queue.markDue(next);
      if (next) refresh(core, next.queue);
      continue;
    }`,
      },
    ],
  },
  {
    name: "M15",
    about: "takes a lease and its extension away together when both end in the same second",
    world: "broker",
    seeds: 200,
    patches: [
      {
        file: "src/broker/pop_queue.ts",
        find: "      message.at = at;\n      message.released = op",
        put: `      const second = (ms: number) => Math.floor(ms / 1000);
      if (op === "extend" && second(at) === second(message.at)) {
        this.#close(queueOffset);
        continue;
      }
      message.at = at;
      message.released = op`,
      },
    ],
  },
  {
    name: "M19",
    about: "forgets idempotency keys behind the snapshot",
    world: "broker",
    seeds: 200,
    patches: [
      {
        file: "storage/start_walk.ts",
        find: "recallKey(frame, dedupe, base);",
        put: "void recallKey;",
      },
    ],
  },
  {
    name: "M20",
    about: "goes by the wall clock, whoever sets it",
    world: "broker",
    seeds: 200,
    patches: [
      {
        file: "src/broker/leader_time.ts",
        find: "return Math.floor(this.#origin + this.#clock.elapsed());",
        put: "return Math.floor(this.#clock.now());",
      },
    ],
  },
  {
    name: "M21",
    about: "does not sync the directory of a new segment",
    world: "storage",
    seeds: 200,
    patches: [
      {
        file: "storage/flusher.ts",
        find: "    await disk.syncDir(LOG_DIR);\n    return { ...roll",
        put: "    void LOG_DIR;\n    return { ...roll",
      },
    ],
  },
  {
    name: "M22",
    about: "takes a short write for a whole one",
    world: "storage",
    seeds: 200,
    patches: [{ file: "storage/base/write_fully.ts", find: "done += count;", put: "done = size;" }],
  },
  {
    name: "M23",
    about: "drops a timer file that still holds what waits",
    world: "broker",
    seeds: 500,
    patches: [
      {
        file: "storage/timer_files.ts",
        find: "this.#files.filter(({ until }) => until < passed.dueAt)",
        put: "this.#files.filter(({ from }) => from < passed.bodyLogOffset)",
      },
    ],
  },
  {
    name: "M24",
    about: "moves to the dead letters in two records",
    world: "broker",
    seeds: 2000,
    patches: [
      {
        file: "src/broker/grant.ts",
        find: '  commit(core, { kind: "dead", record, now });',
        put: `  const acked = items.map(({ queueOffset }) => ({ first: queueOffset, count: 1 }));
  const settle = { groupGen: group.generation, topicGen, queueId, acked, timed: [] };
  commit(core, { kind: "settle", record: settle, now });
  commit(core, { kind: "dead", record, now });`,
      },
    ],
  },
  {
    name: "M24a",
    about: "decides a transaction in one unit and shows its messages in another",
    world: "broker",
    seeds: 500,
    patches: [
      {
        file: "src/broker/transaction_decide.ts",
        find: 'core.sink.put("decide", decide, { continued: true })',
        put: 'core.sink.put("decide", decide, { continued: false })',
      },
    ],
  },
  {
    name: "M24b",
    about: "writes an atomic batch as units of one message each",
    world: "broker",
    seeds: 200,
    patches: [
      {
        file: "storage/message_store.ts",
        find: "const bits = (flags.continued ? FLAG_CONTINUED : 0) |",
        put: "const bits = (flags.continued ? 0 & FLAG_CONTINUED : 0) |",
      },
    ],
  },
  {
    name: "snapshot base",
    about: "merges changes with whatever older snapshot is whole",
    world: "storage",
    seeds: 500,
    patches: [
      {
        file: "storage/jobs.ts",
        find: "if ((before?.logOffset ?? 0) < job.since) throw",
        put: "if ((before?.logOffset ?? 0) < 0) throw",
      },
    ],
  },
  {
    name: "lost chain",
    about: "takes a queue's history to end where damage took a run",
    world: "storage",
    seeds: 500,
    patches: [
      {
        file: "storage/queue_reader.ts",
        find: "base !== undefined; base = this.#before(queue, base)",
        put: "base !== undefined; base = undefined",
      },
    ],
  },
];

/** Decisions of the broker are the same on a group: there too they are hunted. */
const ACROSS_LEADERS = ["M12", "M14", "M15", "M20"];

export const PLANTS: readonly Plant[] = PLANTED.flatMap((plant) => {
  if (!ACROSS_LEADERS.includes(plant.name)) return [plant];
  const name = `${plant.name} across leaders`;
  return [plant, { ...plant, name, world: "failover" as const, seeds: 500 }];
});

/** The files of the tree that a bug is in, with it. @throws when the code is no longer as the patch has it. */
export function patched(plant: Plant): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const { file, find, put } of plant.patches) {
    const parts = (files.get(file) ?? readFileSync(join(ROOT, file), "utf8")).split(find);
    if (parts.length !== 2) {
      throw new Error(`${plant.name}: "${find}" is ${parts.length - 1} times in ${file}, not once`);
    }
    files.set(file, parts.join(put));
  }
  return files;
}

/** The tree without tests that do not matter, with the bug in it. */
function plantedTree(plant: Plant): string {
  const tree = mkdtempSync(join(tmpdir(), "tidegate-planted-"));
  for (const part of ["src", "storage", "routes", "test", "package.json", "deno.json"]) {
    const contract = join(ROOT, "test", "contract");
    const filter = (path: string) => !path.startsWith(contract);
    cpSync(join(ROOT, part), join(tree, part), { recursive: true, filter });
  }
  symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
  for (const [file, source] of patched(plant)) writeFileSync(join(tree, file), source);
  return tree;
}

export interface Hunt {
  /** The seed that found it; undefined: none did. */
  readonly seed: number | undefined;
  /** The first words of what did not hold, or of what went wrong with the hunt. */
  readonly said: string;
}

/** Runs the simulator over the bug until a seed finds it. */
export async function hunt(plant: Plant, runtime: RuntimeName): Promise<Hunt> {
  const tree = plantedTree(plant);
  try {
    const args = ["--world", plant.world, "--seed", "1", "--count", String(plant.seeds)];
    const { code, output } = await runMain(runtime, { tree, args });
    const seed = /^Seed (\d+) failed/m.exec(output)?.[1];
    if (code === 1 && seed !== undefined) return { seed: Number(seed), said: reasonIn(output) };
    return { seed: undefined, said: `ended with ${code}: ${output.slice(-500)}` };
  } finally {
    rmSync(tree, { recursive: true });
  }
}

function reasonIn(output: string): string {
  return /(?:step \d+: |AssertionError[^:]*: )(.*)/.exec(output)?.[1] ?? "";
}

function runMain(
  runtime: RuntimeName,
  { tree, args }: { tree: string; args: readonly string[] },
): Promise<{ code: number | null; output: string }> {
  const [program, ...before] = commandLine(runtime, join(tree, "test/sim/main.ts"));
  const child = spawn(program, [...before, ...args], { cwd: tree });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, output })));
}
