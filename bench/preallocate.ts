/**
 * `bun bench/preallocate.ts DIR`: what a durable batch costs by how its file was made,
 * and by how large the batch is. Bun only: the others have no way to call fallocate.
 *
 *   sparse      the file was grown by ftruncate: blocks are found at each sync
 *   fallocate   blocks were reserved and not written: each sync still says so
 *   zeros       blocks were written before
 *   recycled    blocks hold another segment's bytes
 *
 * Round by round in turn, so that what disturbs one disturbs its neighbours as well.
 *
 * @module
 */

import {
  closeSync,
  constants,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { renderTable } from "./report.ts";
import { median } from "./statistics.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const ROUNDS = 15;
const SYNCS = 60;
const BATCHES = [1 * KiB, 11 * KiB, 64 * KiB] as const;
const LARGE = [MiB, 4 * MiB, 16 * MiB] as const;
const sync = promisify(fdatasync);

const HOW = {
  sparse: (fd: number, size: number) => ftruncateSync(fd, size),
  fallocate(fd: number, size: number) {
    if (allocate(fd, 0, 0, size) !== 0) throw new Error("Cannot fallocate here");
  },
  zeros: (fd: number, size: number) => fill(fd, size, 0),
  recycled: (fd: number, size: number) => fill(fd, size, 0x5a),
} as const;

type Fallocate = (fd: number, mode: number, from: number, size: number) => number;

/** Bun's own; not known to the types. */
const FFI: string = "bun:ffi";
const { dlopen } = (await import(FFI)) as {
  dlopen(library: string, symbols: object): { symbols: { fallocate: Fallocate } };
};
const { fallocate: allocate } = dlopen("libc.so.6", {
  fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
}).symbols;

function fill(fd: number, size: number, byte: number): void {
  const piece = new Uint8Array(MiB).fill(byte);
  for (let at = 0; at < size; at += MiB) writeSync(fd, piece, 0, Math.min(MiB, size - at), at);
}

interface Cost {
  readonly writeMs: number;
  readonly totalMs: number;
}

/** Of one batch, in the middle of many. */
async function measure(how: keyof typeof HOW, batch: number, count: number): Promise<Cost> {
  const path = join(dir, how);
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT);
  const bytes = new Uint8Array(batch).fill(0xa5);
  HOW[how](fd, batch * count);
  fsyncSync(fd);
  const [writes, totals]: [number[], number[]] = [[], []];
  for (let i = 0; i < count; i++) {
    const from = performance.now();
    writeSync(fd, bytes, 0, batch, i * batch);
    writes.push(performance.now() - from);
    await sync(fd);
    totals.push(performance.now() - from);
  }
  closeSync(fd);
  rmSync(path);
  return { writeMs: median(writes), totalMs: median(totals) };
}

const dir = mkdtempSync(join(process.argv[2] ?? ".", "tidegate-preallocate-"));
const names = Object.keys(HOW) as (keyof typeof HOW)[];
try {
  const small: string[][] = [];
  for (const batch of BATCHES) {
    const costs = new Map(names.map((how) => [how, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const how of names) costs.get(how)?.push((await measure(how, batch, SYNCS)).totalMs);
    }
    const us = names.map((how) => `${Math.round(median(costs.get(how) ?? []) * 1000)} µs`);
    small.push([`${batch / KiB} KiB`, ...us]);
  }
  console.log(renderTable(["batch, written and synced", ...names], small));
  const large: string[][] = [];
  for (const batch of LARGE) {
    const costs: Cost[] = [];
    for (let round = 0; round < 5; round++) costs.push(await measure("sparse", batch, 8));
    const of = (pick: (cost: Cost) => number) => median(costs.map(pick));
    const total = of(({ totalMs }) => totalMs);
    large.push([
      `${batch / MiB} MiB`,
      `${of(({ writeMs }) => writeMs).toFixed(1)} ms`,
      `${total.toFixed(1)} ms`,
      `${Math.round(batch / MiB / (total / 1000))} MiB/s`,
    ]);
  }
  console.log(`\n${renderTable(["large batch, sparse", "write", "write and sync", ""], large)}`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
