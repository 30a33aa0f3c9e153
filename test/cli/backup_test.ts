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
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { withTempDir } from "../e2e/server.ts";
import { flipBit, writeDataDir, type Written } from "../fakes/data_dir.ts";
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

describe("tidegate backup and restore", () => {
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

  it("say when there is no log", async () => {
    for (const command of ["backup", "restore"]) {
      const { exitCode } = await runCommand([command, "/nowhere", "/nowhere-else"]);
      assert.equal(exitCode, EXIT.noInput.code);
    }
  });

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
