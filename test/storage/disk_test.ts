/**
 * One suite for every Disk.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import {
  type Disk,
  NoRoom,
  readRange,
  removeAsides,
  replaceFile,
} from "../../storage/base/disk.ts";

const bytes = (...values: number[]) => Uint8Array.from(values);

function testDisk(name: string, withDisk: (body: (disk: Disk) => Promise<void>) => Promise<void>) {
  const run = (does: string, body: (disk: Disk) => Promise<void>): void => {
    void it(does, () => withDisk(body));
  };

  describe(`Disk, ${name}`, () => {
    run("makes directories, again and again", async (disk) => {
      await disk.makeDir("a/b");
      await disk.makeDir("a/b");
      assert.deepEqual(await disk.list("a/b"), []);
      assert.deepEqual(await disk.list("nowhere"), []);
    });

    run("lists names, sorted", async (disk) => {
      await disk.makeDir("d");
      for (const file of ["d/c", "d/a", "d/b"]) {
        await (await disk.open(file, { create: true })).close();
      }
      assert.deepEqual(await disk.list("d"), ["a", "b", "c"]);
    });

    run("opens only what is there, unless it may create", async (disk) => {
      await assert.rejects(disk.open("f", { create: false }));
      const file = await disk.open("f", { create: true });
      file.write(bytes(1, 2), 0);
      await file.close();
      const again = await disk.open("f", { create: true });
      assert.equal(await again.size(), 2, "opening keeps what is there");
      await again.close();
    });

    run("reads and writes anywhere, with zeros between", async (disk) => {
      const file = await disk.open("f", { create: true });
      file.write(bytes(1, 2, 3), 4);
      await file.sync();
      assert.deepEqual(await readRange(file, 0, 100), bytes(0, 0, 0, 0, 1, 2, 3));
      assert.deepEqual(await readRange(file, 5, 1), bytes(2));
      assert.deepEqual(await readRange(file, 7, 5), bytes());
      assert.deepEqual(await readRange(file, 100, 5), bytes());
      await file.close();
    });

    run("writes views where they begin, and megabytes whole", async (disk) => {
      const large = new Uint8Array(3_000_000).map((_, i) => i % 251);
      const file = await disk.open("f", { create: true });
      file.write(large.subarray(1000), 10);
      const found = await readRange(file, 10, large.length);
      assert.equal(Buffer.compare(found, large.subarray(1000)), 0);
      await file.close();
    });

    run("cuts and grows", async (disk) => {
      const file = await disk.open("f", { create: true });
      file.write(bytes(1, 2, 3, 4), 0);
      await file.truncate(2);
      await file.truncate(4);
      assert.equal(await file.size(), 4);
      assert.deepEqual(await readRange(file, 0, 9), bytes(1, 2, 0, 0));
      await file.close();
    });

    run("moves a file onto another, and removes", async (disk) => {
      await disk.makeDir("d");
      for (const [path, value] of [
        ["d/a", 1],
        ["d/b", 2],
      ] as const) {
        const file = await disk.open(path, { create: true });
        file.write(bytes(value), 0);
        await file.close();
      }
      await disk.rename("d/a", "d/b");
      await disk.syncDir("d");
      assert.deepEqual(await disk.list("d"), ["b"]);
      const file = await disk.open("d/b", { create: false });
      assert.deepEqual(await readRange(file, 0, 9), bytes(1));
      await file.close();
      await disk.remove("d/b");
      assert.deepEqual(await disk.list("d"), []);
      await assert.rejects(disk.remove("d/b"));
      await assert.rejects(disk.rename("d/b", "d/c"));
    });

    run("replaces a file by parts, over what a crash left", async (disk) => {
      await disk.makeDir("d");
      const left = await disk.open("d/f.tmp", { create: true });
      left.write(bytes(9, 9, 9, 9, 9, 9), 0);
      await left.close();
      await replaceFile(disk, "d/f", [bytes(1, 2), bytes(), bytes(3)]);
      const file = await disk.open("d/f", { create: false });
      assert.deepEqual(await readRange(file, 0, 9), bytes(1, 2, 3));
      await file.close();
      assert.deepEqual(await disk.list("d"), ["f"]);
    });

    run("removes what crashes left, and nothing else", async (disk) => {
      await disk.makeDir("d");
      for (const path of ["d/a.tmp", "d/b.tmpx", "d/c"]) {
        await (await disk.open(path, { create: true })).close();
      }
      await removeAsides(disk, "d");
      assert.deepEqual(await disk.list("d"), ["b.tmpx", "c"]);
    });
  });
}

testDisk("memory", (body) => body(new MemoryDisk()));

testDisk("node", async (body) => {
  const dir = mkdtempSync(join(tmpdir(), "tidegate-disk-"));
  try {
    const disk = openNodeDisk(join(dir, "deeper", "data"));
    await disk.makeDir("");
    assert.deepEqual(readdirSync(dir), ["deeper"]);
    await body(disk);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

describe("the real disk", () => {
  it("tells how large it is, and what is left", async () => {
    const { size = 0, free = 0 } = (await openNodeDisk(tmpdir()).space()) ?? {};
    assert(size > free && free > 0, `${free} of ${size} bytes are free`);
    assert.equal(await openNodeDisk(join(tmpdir(), "nowhere")).space(), undefined);
  });

  const full = existsSync("/dev/full") ? false : "has no /dev/full";
  it("tells that it has no room from all else that fails", { skip: full }, async () => {
    const file = await openNodeDisk("/dev").open("full", { create: false });
    assert.throws(() => file.write(bytes(1, 2, 3), 0), NoRoom);
    await file.close();
    assert.throws(
      () => file.write(bytes(1), 0),
      (error: unknown) => !(error instanceof NoRoom),
    );
  });
});
