/**
 * `tidegate backup` and `tidegate restore`, over directories nobody serves: the
 * same bytes come back, and nothing that is not whole is taken for a backup.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { holdDataDir } from "../../src/cli/data_dir.ts";
import { EXIT } from "../../src/cli/exit.ts";
import type { Findings } from "../../src/cli/verify.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { writeBeginning } from "../../storage/beginning.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { withTempDir } from "../e2e/server.ts";
import { dropSome, flipBit, writeDataDir, type Written } from "../fakes/data_dir.ts";
import { runCommand } from "../fakes/terminal.ts";
import { draft, KiB, OpenStore } from "../storage/fixture.ts";

const COUNT = 100;

interface Dirs {
  readonly data: string;
  readonly backup: string;
  readonly restored: string;
  readonly written: Written;
}

function withDirs(body: (dirs: Dirs) => Promise<void>): Promise<void> {
  return withTempDir(async (dir) => {
    const data = join(dir, "data");
    mkdirSync(data);
    const written = await writeDataDir(data, { count: COUNT });
    await body({ data, backup: join(dir, "backup"), restored: join(dir, "restored"), written });
  });
}

async function findingsIn(dir: string): Promise<Findings> {
  const { printed } = await runCommand(["check", dir, "--json"]);
  return JSON.parse(printed[0] ?? "") as Findings;
}

/** Appends to the log as a node would, and closes it. */
async function append(dir: string, count: number): Promise<number> {
  const open = await OpenStore.on({ disk: openNodeDisk(dir), segmentBytes: 4 * KiB });
  await open.putAll(Array.from({ length: count }, (_, i) => draft({ queueOffset: COUNT + i })));
  const { end } = open.store.log;
  await open.store.close();
  return end;
}

/** The bytes of its frames, segment after segment. */
function logOf(dir: string, { segments, end }: Pick<Written, "segments" | "end">): Buffer {
  const parts = segments.map((path) =>
    readFileSync(join(dir, "log", path.split("/").at(-1) as string)).subarray(SEGMENT_HEADER_SIZE),
  );
  return Buffer.concat(parts).subarray(0, end);
}

async function findingsOf(dir: string): Promise<Partial<Findings>> {
  const { frames, damaged, notes } = await findingsIn(dir);
  return { frames, damaged, notes: notes.filter((note) => !note.startsWith("the index of")) };
}

describe("tidegate backup and restore", () => {
  it("make no backup of a member that has not caught up with its group", () =>
    withDirs(async ({ data, backup, written }) => {
      const disk = openNodeDisk(data);
      const refuse = async (why: RegExp) => {
        const { exitCode, warned } = await runCommand(["backup", data, backup]);
        assert.equal(exitCode, EXIT.unavailable.code);
        assert.match(warned.join(), why);
      };
      await writeBeginning(disk, { start: 0, describedTo: written.end + 1 }, crc32);
      await refuse(/has not caught up/);
      await writeBeginning(disk, { start: 0, describedTo: written.end }, crc32);
      writeFileSync(join(data, "replacing"), "TIDEREP1");
      await refuse(/its log is giving way to that of its broker group/);
      const served = holdDataDir(data);
      await refuse(/has not caught up/);
      served.release();
      rmSync(join(data, "replacing"));
      assert.equal((await runCommand(["backup", data, backup])).exitCode, EXIT.ok.code);
    }));

  it("take no log that is giving way to another for a backup, or for room for one", () =>
    withDirs(async ({ data, backup, restored }) => {
      assert.equal((await runCommand(["backup", data, backup])).exitCode, EXIT.ok.code);
      writeFileSync(join(backup, "replacing"), "TIDEREP1");
      for (const args of [
        ["restore", backup, restored],
        ["backup", data, backup],
      ]) {
        const { exitCode, warned } = await runCommand(args);
        assert.equal(exitCode, EXIT.unavailable.code);
        assert.match(warned.join(), /its log is giving way .* is kept in ".*set-aside"/);
      }
      assert(!existsSync(join(restored, "log")));
    }));

  it("give back the same log, whole", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      assert(written.segments.length > 2);
      assert.equal((await runCommand(["backup", data, backup])).exitCode, EXIT.ok.code);
      const { exitCode, printed } = await runCommand(["restore", backup, restored]);
      assert.equal(exitCode, EXIT.ok.code);
      assert.match(printed[0] ?? "", new RegExp(`^restored up to ${written.end} `));
      const { frames, end, durableEnd, damaged } = await findingsIn(restored);
      assert.deepEqual(
        { frames, end, durableEnd, damaged },
        {
          frames: COUNT,
          end: written.end,
          durableEnd: written.end,
          damaged: [],
        },
      );
      assert.deepEqual(logOf(restored, written), logOf(data, written));
      assert.equal((await append(restored, 5)) > written.end, true);
      assert.equal((await findingsIn(restored)).frames, COUNT + 5);
    }));

  it("add what is new to a backup that is there", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      await runCommand(["backup", data, backup]);
      const end = await append(data, 60);
      const { printed } = await runCommand(["backup", data, backup]);
      assert.match(printed[0] ?? "", new RegExp(`up to ${end} .*; up to ${written.end} was there`));
      const [, copied = "0"] = /(\d+) bytes copied/.exec(printed[0] ?? "") ?? [];
      assert(Number(copied) < end - written.end + 5 * SEGMENT_HEADER_SIZE, `${copied} bytes`);
      await runCommand(["restore", backup, restored]);
      const { frames, damaged } = await findingsIn(restored);
      assert.deepEqual({ frames, damaged }, { frames: COUNT + 60, damaged: [] });
    }));

  it("begin where the log does, also when that moved on since the last backup", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      const whole = `${backup}-whole`;
      await runCommand(["backup", data, whole]);
      const { start, frames } = await dropSome(data);
      const [first = ""] = written.segments;
      assert(!existsSync(first), "the first segment went");
      for (const dir of [backup, whole]) {
        const { exitCode, warned } = await runCommand(["backup", data, dir]);
        assert.equal(exitCode, EXIT.ok.code, warned.join());
        assert(!existsSync(join(dir, "log", first.split("/").at(-1) ?? "")), dir);
        assert.deepEqual(await findingsOf(dir), { frames, damaged: [], notes: [] }, dir);
        rmSync(restored, { recursive: true, force: true });
        assert.equal((await runCommand(["restore", dir, restored])).exitCode, EXIT.ok.code);
        const open = await OpenStore.on({ disk: openNodeDisk(restored), segmentBytes: 4 * KiB });
        assert.equal(open.store.log.start, start);
        assert.deepEqual(open.store.damage.ranges, []);
        assert.equal((await open.unitsOf(1, 0)).length, frames - 1);
        await open.store.close();
      }
    }));

  it("leave the backup of before as it was until the new one counts", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      await runCommand(["backup", data, backup]);
      const before = readFileSync(join(backup, "checkpoint"));
      await dropSome(data);
      await runCommand(["backup", data, backup]);
      assert.notDeepEqual(readFileSync(join(backup, "checkpoint")), before);
      rmSync(backup, { recursive: true });
      await runCommand(["backup", data, backup]);
      await runCommand(["restore", backup, restored]);
      assert((await findingsIn(restored)).end > written.end);
    }));

  it("refuse to go on where the log no longer has what the backup ends with", () =>
    withDirs(async ({ data, backup }) => {
      await runCommand(["backup", data, backup]);
      await append(data, 200);
      await dropSome(data, { to: -1 });
      const { exitCode } = await runCommand(["backup", data, backup]);
      assert.equal(exitCode, EXIT.refused.code);
    }));

  it("take what a start would find behind the last checkpoint", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      rmSync(join(data, "checkpoint"));
      rmSync(join(data, "snapshots"), { recursive: true });
      await runCommand(["backup", data, backup]);
      await runCommand(["restore", backup, restored]);
      assert.equal((await findingsIn(restored)).end, written.end);
    }));

  it("copy damage, and say so", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      flipBit(written, (written.messages[40] as number) + 60);
      const [from, to] = written.messages.slice(40);
      const backedUp = await runCommand(["backup", data, backup]);
      assert.equal(backedUp.exitCode, EXIT.negative.code);
      assert(backedUp.printed.includes(`damaged ${from} to ${to}`), backedUp.printed.join("\n"));
      assert.equal((await runCommand(["restore", backup, restored])).exitCode, EXIT.negative.code);
      const { frames, damaged } = await findingsIn(restored);
      assert.equal(frames, COUNT - 1);
      assert.deepEqual(
        damaged.map((one) => [one.from, one.to]),
        [[from, to]],
      );
    }));

  it("go on after a copy that was broken off", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      await runCommand(["backup", data, backup]);
      const before = readFileSync(join(backup, "checkpoint"));
      await append(data, 60);
      await runCommand(["backup", data, backup]);
      writeFileSync(join(backup, "checkpoint"), before); // the last thing it would have written

      await runCommand(["restore", backup, restored]);
      const old = await findingsIn(restored);
      assert.deepEqual([old.frames, old.end], [COUNT, written.end]);
      assert.equal((await runCommand(["backup", data, backup])).exitCode, EXIT.ok.code);
      rmSync(restored, { recursive: true });
      await runCommand(["restore", backup, restored]);
      assert.equal((await findingsIn(restored)).frames, COUNT + 60);
    }));

  it("refuse a backup of another log, and leave it as it is", () =>
    withDirs(async ({ data, backup, written }) => {
      await withTempDir(async (other) => {
        await writeDataDir(other, { count: COUNT, topicGen: 2 });
        await runCommand(["backup", other, backup]);
        const before = readFileSync(join(backup, "checkpoint"));
        const { exitCode, warned } = await runCommand(["backup", data, backup]);
        assert.equal(exitCode, EXIT.refused.code);
        assert.match(warned.join("\n"), /of another log/);
        assert.deepEqual(readFileSync(join(backup, "checkpoint")), before);
        assert.deepEqual(logOf(backup, written), logOf(other, written));
      });
    }));

  it("refuse to go back: a backup of a later state is no beginning of this log", () =>
    withDirs(async ({ data, backup, restored, written }) => {
      await runCommand(["backup", data, backup]);
      await runCommand(["restore", backup, restored]);
      await append(data, 10);
      await runCommand(["backup", data, backup]);
      const { exitCode } = await runCommand(["backup", restored, backup]);
      assert.equal(exitCode, EXIT.refused.code);
      assert((await findingsIn(backup)).end > written.end);
    }));

  it("refuse a directory with something in it", () =>
    withDirs(async ({ data, backup, restored }) => {
      await runCommand(["backup", data, backup]);
      mkdirSync(restored);
      writeFileSync(join(restored, "note"), "mine");
      const { exitCode } = await runCommand(["restore", backup, restored]);
      assert.equal(exitCode, EXIT.refused.code);
      assert(!existsSync(join(restored, "log")));
    }));

  it("take nothing for a backup that was not finished", () =>
    withDirs(async ({ data, backup, restored }) => {
      await runCommand(["backup", data, backup]);
      truncateSync(join(backup, "checkpoint"), 0);
      const { exitCode, warned } = await runCommand(["restore", backup, restored]);
      assert.equal(exitCode, EXIT.noInput.code);
      assert.match(warned.join("\n"), /no complete backup/);
    }));

  it("end with a word about the disk when a file cannot be had", () =>
    withDirs(async ({ data, backup, written }) => {
      mkdirSync(join(backup, "log", (written.segments[1] ?? "").split("/").at(-1) ?? ""), {
        recursive: true,
      }); // where a segment is to lie
      const { exitCode, warned } = await runCommand(["backup", data, backup]);
      assert.equal(exitCode, EXIT.io.code);
      assert.match(warned.join("\n"), /^tidegate: The copy cannot go on: /);
      assert(!existsSync(join(backup, "checkpoint")));
    }));

  it("say when there is no log", async () => {
    for (const command of ["backup", "restore"]) {
      const { exitCode } = await runCommand([command, "/nowhere", "/nowhere-else"]);
      assert.equal(exitCode, EXIT.noInput.code);
    }
  });

  it("wait for the checkpoint that covers what was answered", () =>
    withTempDir(async (dir) => {
      const [data, backup] = [join(dir, "data"), join(dir, "backup")];
      mkdirSync(data);
      const node = holdDataDir(data);
      const clock = new ManualClock();
      const open = await OpenStore.on({ disk: openNodeDisk(data), segmentBytes: 64 * KiB, clock });
      await open.putAll([draft({ queueOffset: 0 })]);
      clock.advance(1000); // a checkpoint is written
      await open.putAll([draft({ queueOffset: 1 })]);
      const { end } = open.store.log;
      const copying = runCommand(["backup", data, backup]);
      const late = setInterval(() => clock.advance(500), 50);
      const { exitCode, printed } = await copying;
      clearInterval(late);
      await open.store.close();
      node.release();
      assert.equal(exitCode, EXIT.ok.code);
      assert.match(printed[0] ?? "", new RegExp(`^backed up up to ${end} `));
    }));

  it("wait no longer than for ever: a node that confirms nothing is told of", () =>
    withDirs(async ({ data, backup }) => {
      rmSync(join(data, "checkpoint"));
      const node = holdDataDir(data);
      try {
        const { exitCode } = await runCommand(["backup", data, backup]);
        assert.equal(exitCode, EXIT.unavailable.code);
        assert(!existsSync(join(backup, "checkpoint")));
      } finally {
        node.release();
      }
    }));
});
