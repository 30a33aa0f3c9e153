/**
 * Jobs in worker threads, one per lane, started when the first one is asked for.
 *
 * The same file is the worker: it opens the data directory it is told and runs
 * one job after the other.
 *
 * @module
 */

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

/** One worker per lane. @param root the data directory. */
export function workerJobs(root: string): Jobs {
  const lanes = { short: workerLane(root), long: workerLane(root) };
  return {
    run: (job) => lanes[laneOf(job)].run(job),
    async close() {
      await Promise.all([lanes.short.close(), lanes.long.close()]);
    },
  };
}

function workerLane(root: string): Jobs {
  const waiting: Waiting[] = [];
  let worker: Worker | undefined;

  const start = (): Worker => {
    const started = new Worker(fileURLToPath(import.meta.url), { workerData: { tidegate: root } });
    const end = (error: Error) => {
      if (worker === started) worker = undefined;
      for (const job of waiting.splice(0)) job.reject(error);
    };
    started.unref();
    started.on("message", ({ error, damaged, snapshot }: Outcome) => {
      const job = waiting.shift();
      if (waiting.length === 0) started.unref();
      if (error === undefined) job?.resolve();
      else if (damaged) job?.reject(new RunDamage(damaged));
      else if (snapshot !== undefined) job?.reject(new SnapshotDamage(snapshot));
      else job?.reject(new Error(error));
    });
    started.on("error", end);
    started.on("exit", (code) => end(new Error(`Cannot run the job: the worker ended, ${code}`)));
    return started;
  };

  return {
    run(job) {
      worker ??= start();
      const target = worker;
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        target.ref(); // a process that only waits for its last job must not end before it
        target.postMessage(job);
      });
    },
    async close() {
      await worker?.terminate();
    },
  };
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
