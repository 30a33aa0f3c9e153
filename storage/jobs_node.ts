/**
 * Jobs in worker threads, one per lane, started when the first one is asked for.
 *
 *   none ──run()──▶ working ──last job done──▶ idle ──so long──▶ ended, none
 *                      ▲                        │
 *                      └────────run()───────────┘
 *
 * An idle worker is ended: its memory stays as large as its largest job had need
 * of, and to seal a segment of small messages is a large one. One that only ever
 * wrote zeros is as small as it began and stays, for that job comes often.
 *
 * The same file is the worker: it opens the data directory it is told and runs
 * one job after the other.
 *
 * @module
 */

import { clearTimeout, setTimeout } from "node:timers";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { crc32 } from "./base/checksum_node.ts";
import { openNodeDisk } from "./base/disk_node.ts";
import type { RunRange } from "./dedupe_run.ts";
import { RunDamage } from "./dedupe_run_file.ts";
import { type Job, type Jobs, laneOf, runJob } from "./jobs.ts";
import { SnapshotDamage } from "./snapshot.ts";

interface Outcome {
  readonly error?: string;
  /** The error was that this dedupe run is damaged. */
  readonly damaged?: RunRange;
  /** The error was that this snapshot is. */
  readonly snapshot?: number;
}

function outcomeOf(error: unknown): Outcome {
  return {
    error: String(error),
    ...(error instanceof RunDamage && { damaged: error.range }),
    ...(error instanceof SnapshotDamage && { snapshot: error.logOffset }),
  };
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

export interface WorkerJobs extends Jobs {
  /** How many there are. */
  readonly workers: number;
}

/** One worker per lane. @param root the data directory. */
export function workerJobs(root: string, { idleMs = 10_000 } = {}): WorkerJobs {
  const lanes = { short: new Lane(root, idleMs), long: new Lane(root, idleMs) };
  return {
    run: (job) => lanes[laneOf(job)].run(job),
    get workers() {
      return Object.values(lanes).filter(({ isAwake }) => isAwake).length;
    },
    async close() {
      await Promise.all([lanes.short.close(), lanes.long.close()]);
    },
  };
}

class Lane implements Jobs {
  readonly #root: string;
  readonly #idleMs: number;
  #worker: JobWorker | undefined;

  constructor(root: string, idleMs: number) {
    this.#root = root;
    this.#idleMs = idleMs;
  }

  get isAwake(): boolean {
    return this.#worker?.isUsable === true;
  }

  run(job: Job): Promise<void> {
    if (!this.#worker?.isUsable) this.#worker = new JobWorker(this.#root, this.#idleMs);
    return this.#worker.run(job);
  }

  async close(): Promise<void> {
    await this.#worker?.close();
  }
}

class JobWorker {
  readonly #worker: Worker;
  readonly #idleMs: number;
  readonly #waiting: Waiting[] = [];
  #grown = false;
  #idle: NodeJS.Timeout | undefined;
  /** Neither ended nor told to. */
  isUsable = true;

  constructor(root: string, idleMs: number) {
    this.#idleMs = idleMs;
    this.#worker = new Worker(fileURLToPath(import.meta.url), { workerData: { tidegate: root } });
    this.#worker.unref();
    this.#worker.on("message", (outcome: Outcome) => this.#settle(outcome));
    this.#worker.on("error", (error: Error) => this.#end(error));
    this.#worker.on("exit", (code) =>
      this.#end(new Error(`Cannot run the job: the worker ended, ${code}`)),
    );
  }

  run(job: Job): Promise<void> {
    clearTimeout(this.#idle);
    this.#grown ||= job.kind !== "prepare";
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.ref(); // a process that only waits for its last job must not end before it
      this.#worker.postMessage(job);
    });
  }

  #settle({ error, damaged, snapshot }: Outcome): void {
    const job = this.#waiting.shift();
    if (this.#waiting.length === 0) this.#rest();
    if (error === undefined) job?.resolve();
    else if (damaged) job?.reject(new RunDamage(damaged));
    else if (snapshot !== undefined) job?.reject(new SnapshotDamage(snapshot));
    else job?.reject(new Error(error));
  }

  #rest(): void {
    this.#worker.unref();
    if (this.#grown) this.#idle = setTimeout(() => void this.close(), this.#idleMs).unref();
  }

  #end(error: Error): void {
    this.isUsable = false;
    clearTimeout(this.#idle);
    for (const job of this.#waiting.splice(0)) job.reject(error);
  }

  async close(): Promise<void> {
    this.isUsable = false;
    clearTimeout(this.#idle);
    await this.#worker.terminate();
  }
}

const root = (workerData as { tidegate?: string } | null)?.tidegate;
if (!isMainThread && parentPort && root !== undefined) {
  const port = parentPort;
  const ports = { disk: openNodeDisk(root), crc32 };
  let last: Promise<void> = Promise.resolve();
  port.on("message", (job: Job) => {
    last = last
      .then(() => runJob(job, ports))
      .then(
        () => port.postMessage({}),
        (error: unknown) => port.postMessage(outcomeOf(error)),
      );
  });
}
