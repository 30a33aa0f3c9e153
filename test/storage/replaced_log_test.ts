/**
 * A log that gives way to the beginning of another's, stopped at every single call of
 * its disk, by a kill or a power cut: what is found then is the old log, whole, or
 * nothing, or the new beginning, whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import type { Disk, DiskFile } from "../../storage/base/disk.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import {
  BEGINNING_FORMAT,
  decodeBeginning,
  encodeBeginning,
  readBegun,
  writeBeginning,
} from "../../storage/beginning.ts";
import { runRanges } from "../../storage/dedupe_run.ts";
import { writeLogStart } from "../../storage/log_start.ts";
import { segmentBases } from "../../storage/segment.ts";
import { endReplacement, isReplacing, ReplacedLog } from "../../storage/mod.ts";
import { type Member, takeOver } from "../suites/replicated_pair.ts";
import { openTestBroker, openTestStandby } from "../suites/open_broker.ts";
import { shortenedPair } from "../suites/shortened_pair.ts";

class Stopped extends Error {}

/** A disk whose calls end after so many. */
class StoppingDisk implements Disk {
  readonly #disk: MemoryDisk;
  #left: number;

  constructor(disk: MemoryDisk, left: number) {
    this.#disk = disk;
    this.#left = left;
  }

  get stopped(): boolean {
    return this.#left < 0;
  }

  #call(): void {
    if (--this.#left < 0) throw new Stopped("the process is gone");
  }

  space() {
    return this.#disk.space();
  }

  async makeDir(path: string): Promise<void> {
    this.#call();
    await this.#disk.makeDir(path);
  }

  list(path: string) {
    return this.#disk.list(path);
  }

  async open(path: string, options: { create: boolean }): Promise<DiskFile> {
    this.#call();
    const file = await this.#disk.open(path, options);
    return {
      size: () => file.size(),
      read: (target, position) => file.read(target, position),
      write: (bytes, position) => {
        this.#call();
        file.write(bytes, position);
      },
      sync: async () => {
        this.#call();
        await file.sync();
      },
      truncate: async (size) => {
        this.#call();
        await file.truncate(size);
      },
      close: () => file.close(),
    };
  }

  async rename(from: string, to: string): Promise<void> {
    this.#call();
    await this.#disk.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    this.#call();
    await this.#disk.remove(path);
  }

  async syncDir(path: string): Promise<void> {
    this.#call();
    await this.#disk.syncDir(path);
  }
}

interface Found {
  readonly start: number;
  readonly end: number;
  readonly diskId: string;
  readonly runs: number;
  readonly epochs: readonly unknown[];
}

async function found(disk: MemoryDisk, chance: Prng): Promise<Found> {
  const { standby } = await openTestStandby({ disk, chance });
  const { start, end, epochs } = standby.restored;
  const { diskId } = standby;
  const runs = runRanges(disk.names("dedupe")).length;
  assert.equal(await isReplacing(disk), false);
  await standby.close();
  return { start, end, diskId, runs, epochs };
}

const OUTCOMES = ["old", "nothing", "new"] as const;

/** As it may be found after a stop. */
function outcomeOf(now: Found, of: { readonly old: Found; readonly leader: Member }) {
  const { old, leader } = of;
  if (now.diskId === old.diskId) {
    assert.deepEqual(now, old, "the old log is whole");
    return "old";
  }
  if (now.end === 0) {
    assert.deepEqual([now.start, now.runs], [0, 0], "nothing is there");
    return "nothing";
  }
  assert.deepEqual([now.start, now.end], [leader.start, leader.start], "it begins there");
  assert(now.runs > 0, "the keys of before are there");
  assert.deepEqual(now.epochs, [{ epoch: 1, from: 0 }], "the frame before is of this epoch");
  return "new";
}

describe("ReplacedLog", { timeout: 60_000 }, () => {
  it("leaves the old log, nothing, or the new beginning, wherever it is stopped", async () => {
    const { pair, before } = await shortenedPair();
    const { leader } = pair;
    const chance = new Prng(11);
    const old = await found(before.clone(), chance);
    assert(old.end > 0 && old.end < leader.start, "the old log does not reach the leader's");
    const seen = new Set<string>();
    for (let calls = 0; ; calls++) {
      const disk = before.clone();
      const stopping = new StoppingDisk(disk, calls);
      await takeOver(leader, { disk: stopping, size: 3000 }).catch((error: unknown) => {
        if (!(error instanceof Stopped)) throw error;
      });
      for (const left of [disk.clone(), disk.crash(), disk.crash()]) {
        const outcome = outcomeOf(await found(left, chance), { old, leader });
        seen.add(outcome);
        if (!stopping.stopped) assert.equal(outcome, "new");
        // The way goes on from there, whatever was found.
        await takeOver(leader, { disk: left });
        assert.equal(outcomeOf(await found(left, chance), { old, leader }), "new");
      }
      if (!stopping.stopped) break;
    }
    assert.deepEqual([...seen].toSorted(), OUTCOMES.toSorted());
  });

  it("ends what a stop left half-done, however often that is stopped itself", async () => {
    const { pair, before } = await shortenedPair();
    const chance = new Prng(12);
    for (let calls = 1; ; calls += 3) {
      const disk = before.clone();
      const stopping = new StoppingDisk(disk, calls);
      await takeOver(pair.leader, { disk: stopping, size: 3000 }).catch(() => {});
      if (!stopping.stopped) break;
      let left = disk.crash();
      if (!(await isReplacing(left))) continue;
      for (let more = 0; ; more++) {
        const ending = new StoppingDisk(left, more);
        await endReplacement(ending).catch((error: unknown) => assert(error instanceof Stopped));
        if (!ending.stopped) break;
        left = left.crash();
        if (!(await isReplacing(left))) break;
      }
      const { start, end, runs } = await found(left, chance);
      assert.deepEqual([start, end, runs], [0, 0, 0]);
      assert(!left.has("set-aside/log/start"), "what was set aside is of the old log alone");
    }
  });

  it("is not opened by a node alone until it is ended: it could serve but a part, or nothing", async () => {
    const { pair, before } = await shortenedPair();
    let refused = 0;
    for (let calls = 0; ; calls += 3) {
      const disk = before.clone();
      const stopping = new StoppingDisk(disk, calls);
      await takeOver(pair.leader, { disk: stopping, size: 3000 }).catch(() => {});
      if (!stopping.stopped) break;
      for (const left of [disk, disk.crash()]) {
        if (!(await isReplacing(left))) continue;
        const names = () => ["", "log", "set-aside", "dedupe"].map((dir) => left.names(dir));
        const there = names();
        await assert.rejects(openTestBroker({ disk: left }), { code: "data-damaged" });
        assert.deepEqual(names(), there, "nothing has changed");
        refused++;
      }
    }
    assert(refused > 10);
  });

  it("keeps what it set aside, and has another disk", async () => {
    const { pair, before } = await shortenedPair();
    const disk = before.clone();
    const old = await found(disk, new Prng(1));
    const segments = segmentBases(disk.names("log"));
    await takeOver(pair.leader, { disk });
    assert.deepEqual(segmentBases(disk.names("set-aside/log")), segments);
    const { diskId, start } = await found(disk, new Prng(2));
    assert.notEqual(diskId, old.diskId);
    await takeOver(pair.leader, { disk });
    assert.deepEqual(segmentBases(disk.names("set-aside/log")), [start], "the last time only");
  });

  it("takes nothing that is not what was sent", async () => {
    const { pair } = await shortenedPair();
    const held = await pair.leader.beginning();
    const replaced = await ReplacedLog.begin({ disk: new MemoryDisk(), crc32 });
    const [file] = held.files;
    assert(file);
    const piece = await held.read(0, { at: 0, size: 100 });
    const damaged = { ...piece, bytes: piece.bytes.map((byte, i) => (i === 50 ? byte ^ 1 : byte)) };
    await assert.rejects(replaced.put(file, 0, damaged), { code: "data-damaged" });
    await assert.rejects(replaced.put(file, file.size - 50, piece), { code: "data-damaged" });
    await assert.rejects(held.read(0, { at: file.size, size: 1 }), { code: "invalid-request" });
    await assert.rejects(held.read(9, { at: 0, size: 1 }), { code: "invalid-request" });
    await held.release();
    await assert.rejects(held.read(0, { at: 0, size: 1 }), { code: "invalid-request" });
  });

  it("brings a damaged file of keys as it is, and the keys are refused there too", async () => {
    const { pair, republish } = await shortenedPair();
    const { disk } = pair.leader;
    for (const name of disk.names("dedupe")) {
      disk.damage(`dedupe/${name}`, (bytes) => bytes.fill(0x55, 0, 64)); // its header
    }
    await pair.replaceFollower(new MemoryDisk(5));
    await pair.settle();
    await pair.fail(disk.clone());
    await assert.rejects(republish(pair), { code: "data-damaged" });
  });

  it("brings the keys of what is gone", async () => {
    const { pair, republish } = await shortenedPair();
    await pair.replaceFollower(new MemoryDisk(5));
    await pair.settle();
    await pair.fail(pair.leader.disk.clone());
    await republish(pair);
  });
});

describe("the file of a beginning", () => {
  const beginning = { start: 4096, describedTo: 9000, epoch: { epoch: 7, from: 4000 } };

  it("has the layout at its head", () => {
    const bytes = encodeBeginning(beginning, crc32);
    const hex = Buffer.from(bytes).toString("hex");
    assert.equal(hex.slice(0, 72), GOLDEN);
    assert.deepEqual(decodeBeginning(bytes, crc32), beginning);
    assert(BEGINNING_FORMAT.length === 8);
  });

  it("tells nothing when it is damaged: no snapshot is trusted then", async () => {
    const disk = new MemoryDisk();
    await writeLogStart(disk, { start: 4096 }, crc32);
    assert.equal((await readBegun(disk, crc32)).wholeFrom, 4096);
    await writeBeginning(disk, beginning, crc32);
    assert.deepEqual(await readBegun(disk, crc32), {
      start: 4096,
      wholeFrom: 9000,
      epochs: [beginning.epoch],
    });
    disk.damage("log/beginning", (bytes) => bytes.fill(1, 20, 21));
    const { wholeFrom, epochs } = await readBegun(disk, crc32);
    assert.deepEqual([wholeFrom, epochs], [Infinity, []]);
  });

  it("knows nothing of epochs once the log starts later", async () => {
    const disk = new MemoryDisk();
    await writeBeginning(disk, beginning, crc32);
    await writeLogStart(disk, { start: 8192 }, crc32);
    const { start, wholeFrom, epochs } = await readBegun(disk, crc32);
    assert.deepEqual([start, wholeFrom, epochs], [8192, 9000, []]);
  });
});

const GOLDEN =
  "5449444542454731" + // TIDEBEG1
  "0000000000001000" +
  "0000000000002328" +
  "0000000000000fa0" +
  "00000007";
