/**
 * Damage at rest, on a real disk: a store is written, closed and copied; in each
 * copy one file is spoilt, of every kind in turn, and a start has to cope.
 *
 *   flip   one bit of a file
 *   cut    a file loses its last k bytes; the newest segment for every k in turn
 *
 * Judged against what was written: every record is there, or lies in a range that
 * is told; nothing moved, nothing is there that was not written; the log ends where
 * it did; what is derived is what it was.
 *
 * @module
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Disk } from "../../storage/base/disk.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { Prng } from "../../storage/base/prng.ts";
import type { RecordPlace } from "../../storage/replay.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { draft, KiB, OpenStore, type UnitRow } from "../storage/fixture.ts";
import { pause } from "./target.ts";

export const AT_REST = ["flip", "cut"] as const;
export type AtRest = (typeof AT_REST)[number];

export interface RestResult {
  readonly violations: readonly string[];
  /** Bytes changed, or went. */
  readonly effective: number;
  /** Something was told: a range, or a file that is built again. */
  readonly noticed: number;
  /** By kind of file. */
  readonly files: Readonly<Record<string, number>>;
  readonly recordsLost: number;
}

interface Written {
  readonly records: readonly (RecordPlace & { readonly size: number })[];
  readonly rows: readonly UnitRow[];
  readonly fold: Record<string, string>;
  readonly end: number;
  readonly files: readonly string[];
}

const SEGMENT_BYTES = 4 * KiB;
const MESSAGES = 120;
const DIRS = ["", "log", "snapshots", "dedupe", "timers"];

export async function spoilAtRest(
  kind: AtRest,
  { count, seed }: { readonly count: number; readonly seed: number },
): Promise<RestResult> {
  const top = mkdtempSync(join(tmpdir(), "tidegate-at-rest-"));
  try {
    const prng = new Prng(seed);
    const written = await write(join(top, "whole"));
    const trial = new Trial(top, written);
    const kinds = new Map<string, string[]>();
    for (const path of written.files) {
      const name = path.replace(/.*\./, "");
      kinds.set(name, [...(kinds.get(name) ?? []), path]);
    }
    for (let i = 0; i < count; i++) {
      const turn = kind === "flip" ? i : i >> 1;
      const [, paths] = [...kinds][turn % kinds.size] as [string, string[]];
      const path = prng.pick(paths);
      if (kind === "flip") await trial.flip(path, prng);
      else if (i % 2 === 0) await trial.cutNewest(1 + (i >> 1));
      else await trial.cut(path, prng);
    }
    return trial.result;
  } finally {
    rmSync(top, { recursive: true });
  }
}

/** Messages with idempotency keys, delayed ones, other records; closed, so that all of it is known to be synced. */
async function write(dir: string): Promise<Written> {
  const disk = openNodeDisk(dir);
  const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
  const places: RecordPlace[] = [];
  for (let i = 0; i < MESSAGES; i++) {
    const keyHash = new Uint8Array(16).fill(i + 1);
    const dedupe = { keyHash, fingerprint: new Uint8Array(8) };
    places.push(...open.putUnit([draft({ queueOffset: i, dedupe })]));
    if (i % 5 === 0) places.push(open.putDeferred(delayed(i)));
    if (i % 7 === 0)
      places.push(open.append("seek", { groupGen: 9, topicGen: i, queueId: 0, to: 0 }));
    await open.settle();
  }
  const { end } = open.store.log;
  const rows = await open.unitsOf(1, 0);
  await open.store.close();
  const records = places.map((place, i) => ({
    ...place,
    size: (places[i + 1]?.logOffset ?? end) - place.logOffset,
  }));
  return { records, rows, fold: open.fold.dump(), end, files: await filesOf(disk) };
}

/** Of every kind; once the merging that was under way is over. */
async function filesOf(disk: Disk): Promise<string[]> {
  for (let before = ""; ; ) {
    const names = await Promise.all(DIRS.map((dir) => disk.list(dir)));
    const files = names
      .flatMap((found, i) => found.map((name) => (i === 0 ? name : `${DIRS[i]}/${name}`)))
      .filter((path) => path === "checkpoint" || /\.(log|idx|snap|run|tmr)$/.test(path));
    if (files.join() === before) return files;
    before = files.join();
    await pause(100);
  }
}

function delayed(i: number) {
  const { envelope, attributes, body } = draft({ queueOffset: -1, id: `later-${i}` });
  return { envelope: { ...envelope, deliverAt: 1_800_000_000_000 + i }, attributes, body };
}

class Trial {
  readonly #whole: string;
  readonly #copy: string;
  readonly #written: Written;
  readonly #violations: string[] = [];
  readonly #files: Record<string, number> = {};
  #effective = 0;
  #noticed = 0;
  #lost = 0;

  constructor(top: string, written: Written) {
    this.#whole = join(top, "whole");
    this.#copy = join(top, "copy");
    this.#written = written;
  }

  get result(): RestResult {
    return {
      violations: this.#violations,
      effective: this.#effective,
      noticed: this.#noticed,
      files: this.#files,
      recordsLost: this.#lost,
    };
  }

  flip(path: string, prng: Prng): Promise<void> {
    return this.#judge(path, (file) => {
      const bytes = readFileSync(file);
      if (bytes.length === 0) return "nothing";
      const [at, bit] = [prng.below(bytes.length), prng.below(8)];
      bytes[at] = (bytes[at] as number) ^ (1 << bit);
      writeFileSync(file, bytes);
      return `bit ${bit} of byte ${at}`;
    });
  }

  cut(path: string, prng: Prng): Promise<void> {
    return this.#judge(path, (file) => {
      const { length } = readFileSync(file);
      const left = prng.below(Math.max(1, length));
      truncateSync(file, left);
      return `all from byte ${left} on`;
    });
  }

  /** The newest segment loses the last k bytes of its frames. */
  cutNewest(k: number): Promise<void> {
    const path = this.#written.files.filter((one) => one.endsWith(".log")).at(-1) as string;
    const base = Number(/(\d{20})/.exec(path)?.[1]);
    return this.#judge(path, (file) => {
      const frames = this.#written.end - base;
      const left = SEGMENT_HEADER_SIZE + frames - 1 - ((k - 1) % frames);
      truncateSync(file, left);
      return `all from byte ${left} on`;
    });
  }

  async #judge(path: string, spoil: (file: string) => string): Promise<void> {
    rmSync(this.#copy, { recursive: true, force: true });
    cpSync(this.#whole, this.#copy, { recursive: true });
    const file = join(this.#copy, path);
    const before = readFileSync(file);
    const what = `${path}, ${spoil(file)}`;
    if (!before.equals(readFileSync(file))) this.#effective++;
    const kind = path.replace(/.*\./, "");
    this.#files[kind] = (this.#files[kind] ?? 0) + 1;
    try {
      const disk = openNodeDisk(this.#copy);
      const open = await OpenStore.on({ disk, segmentBytes: SEGMENT_BYTES });
      await this.#compare(open, { what, isLog: kind === "log" });
      await open.store.close();
    } catch (error) {
      this.#violations.push(`${what}: ${(error as Error).message}`);
    }
  }

  async #compare(open: OpenStore, about: { what: string; isLog: boolean }): Promise<void> {
    const { what, isLog } = about;
    const { log, damage } = open.store;
    const say = (text: string) => this.#violations.push(`${what}: ${text}`);
    const lost = new Set<number>();
    for (const { logOffset, size } of this.#written.records) {
      if (await log.read({ logOffset, size })) continue;
      lost.add(logOffset);
      const told = damage.ranges.some(
        ({ from, to }) => from <= logOffset && logOffset + size <= to,
      );
      if (!told) say(`the record at ${logOffset} is gone and nobody is told`);
    }
    this.#lost += lost.size;
    if (!isLog && lost.size > 0) say(`${lost.size} records are gone with a derived file`);
    if (log.end !== this.#written.end) say(`the log ends at ${log.end}`);
    const there = new Map((await open.unitsOf(1, 0)).map((row) => [row[0], row]));
    for (const [queueOffset, logOffset, size] of this.#written.rows) {
      const row = there.get(queueOffset);
      there.delete(queueOffset);
      const same = row?.[1] === logOffset && row[2] === size;
      if (!same && !lost.has(logOffset)) say(`message ${queueOffset} moved, or is gone`);
    }
    if (there.size > 0) say(`${there.size} messages are there that were not written`);
    const same = JSON.stringify(open.fold.dump()) === JSON.stringify(this.#written.fold);
    if (!same && lost.size === 0) say("the state is another");
    const { damagedHeaders } = log.recovery;
    if (damage.ranges.length + open.reports.length + damagedHeaders.length > 0) this.#noticed++;
  }
}
