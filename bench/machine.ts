/**
 * Where a figure was measured: without this, it means nothing.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import {
  closeSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { commandLine, ROOT } from "../test/e2e/server.ts";
import { hasWrk } from "./load.ts";
import { median } from "./statistics.ts";
import type { BenchRuntime } from "./subjects.ts";

const GiB = 1024 ** 3;
const SYNCS = 200;

export function describeMachine(runtimes: readonly BenchRuntime[], dataRoot: string): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / GiB);
  const loader = hasWrk ? "wrk -t1" : "raw sockets in the bench process (no wrk here)";
  return [
    `- machine: ${cpus().length} × ${cpu?.model.trim()}, ${memory} GiB, Linux ${release()}`,
    `- runtimes: ${runtimes.map(versionOf).join(", ")}`,
    `- commit: ${commit()}`,
    `- durability: acks \`durable\`, fdatasync before every answer, group commit; ${syncOf(dataRoot)}`,
    `- load: ${loader}, on the same machine as the server`,
  ].join("\n");
}

function versionOf(runtime: BenchRuntime): string {
  const [program] = commandLine(runtime, "");
  const [line] = spawnSync(program, ["--version"], { encoding: "utf8" }).stdout.split("\n");
  return runtime === "bun" ? `Bun ${line}` : `Deno ${line?.split(" ")[1]}`;
}

function commit(): string {
  const head = git("rev-parse", "--short", "HEAD") || "unknown";
  return git("status", "--porcelain") === "" ? head : `${head} with local changes`;
}

function git(...args: string[]): string {
  return spawnSync("git", args, { cwd: ROOT, encoding: "utf8" }).stdout?.trim() ?? "";
}

/** What a sync costs where the data lies: the figure everything durable hangs on. */
function syncOf(dataRoot: string): string {
  const dir = mkdtempSync(join(dataRoot, "tidegate-sync-"));
  const file = openSync(join(dir, "probe"), "w");
  const page = Buffer.alloc(4096, 1);
  writeSync(file, Buffer.alloc(SYNCS * page.length), 0, SYNCS * page.length, 0);
  fdatasyncSync(file);
  const micros = Array.from({ length: SYNCS }, (_, index) => {
    const startedAt = performance.now();
    writeSync(file, page, 0, page.length, index * page.length);
    fdatasyncSync(file);
    return (performance.now() - startedAt) * 1000;
  });
  closeSync(file);
  rmSync(dir, { recursive: true });
  const kind = FILE_SYSTEMS[statfsSync(dataRoot).type] ?? "an unknown file system";
  return `${kind}, one 4 KiB write and fdatasync ${Math.round(median(micros))} µs (median)`;
}

/** By the magic number statfs gives. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs (memory: a sync costs nothing here)",
  0x794c7630: "overlayfs",
  0x2fc12fc1: "zfs",
};
