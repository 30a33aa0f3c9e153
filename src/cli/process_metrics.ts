/**
 * The figures of the process and of its data directory.
 *
 * @module
 */

import { readdirSync } from "node:fs";
import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { counter, type Family, gauge, type Sample } from "../../storage/base/metrics.ts";

/** @param about.startedAt milliseconds since the Unix epoch. */
export async function processMetrics(about: {
  /** Undefined: there is none. */
  readonly dataDir: string | undefined;
  readonly version: string;
  readonly runtime: string;
  readonly startedAt: number;
}): Promise<Family[]> {
  const { dataDir, version, runtime, startedAt } = about;
  const { rss, heapUsed, external } = process.memoryUsage();
  return [
    gauge({
      name: "tidegate_build_info",
      help: "Always 1; which build this is, and what runs it",
      labels: { version, runtime },
      value: 1,
    }),
    gauge({
      name: "process_start_time_seconds",
      help: "When the node started, in seconds since the Unix epoch",
      value: startedAt / 1000,
    }),
    counter({
      name: "process_cpu_seconds_total",
      help: "Processor time used",
      value: processorMs() / 1000,
    }),
    gauge({ name: "process_resident_memory_bytes", help: "Memory in use (RSS)", value: rss }),
    gauge({ name: "process_open_fds", help: "Open file descriptors", samples: openFiles() }),
    gauge({
      name: "tidegate_heap_bytes",
      help: "Memory of JavaScript: objects, and the bytes they hold outside of the heap",
      samples: [
        { labels: { part: "heap" }, value: heapUsed },
        { labels: { part: "external" }, value: external },
      ],
    }),
    ...(dataDir === undefined ? [] : await diskMetrics(dataDir)),
  ];
}

/** Processor time used so far, by all threads, in milliseconds. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function diskMetrics(dataDir: string): Promise<Family[]> {
  return [
    gauge({
      name: "tidegate_disk_used_bytes",
      help: "Blocks on disk that the data directory takes, by what is in it",
      samples: await usedBytes(dataDir),
    }),
    gauge({
      name: "tidegate_disk_free_bytes",
      help: "Free on the file system of the data directory",
      samples: await freeBytes(dataDir),
    }),
  ];
}

/** None where the system does not tell. */
function openFiles(): Sample[] {
  try {
    return [{ value: readdirSync("/proc/self/fd").length }];
  } catch {
    return []; // there is no /proc
  }
}

async function freeBytes(path: string): Promise<Sample[]> {
  try {
    const { bavail, bsize } = await statfs(path);
    return [{ value: bavail * bsize }];
  } catch {
    return []; // not every runtime and file system tells
  }
}

/** Its directories are `log`, `snapshots` and so on; what lies beside them is small. */
async function usedBytes(dataDir: string): Promise<Sample[]> {
  const samples: Sample[] = [];
  try {
    for (const entry of await readdir(dataDir, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const dir = join(dataDir, entry.name);
      let value = 0;
      for (const name of await readdir(dir)) value += await sizeOnDisk(join(dir, name));
      samples.push({ labels: { part: entry.name }, value });
    }
  } catch {
    // Somebody took the directory away: the other figures are wanted all the more.
  }
  return samples;
}

const BLOCK_SIZE = 512;

async function sizeOnDisk(path: string): Promise<number> {
  try {
    const { blocks, size } = await stat(path);
    return blocks ? blocks * BLOCK_SIZE : size;
  } catch {
    return 0; // it went since the directory was read
  }
}
