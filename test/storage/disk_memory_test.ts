/**
 * The disk that loses power, held against its own word: it must be no kinder
 * than a real one, or every crash test on it proves nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { NoRoom, replaceFile } from "../../storage/base/disk.ts";
import { salvaging } from "../../storage/base/salvage.ts";
import { writeFully } from "../../storage/base/write_fully.ts";

const SECTOR = 512;
const filled = (size: number, byte: number) => new Uint8Array(size).fill(byte);

/** What `look` saw over many seeds. */
async function outcomes(
  prepare: (disk: MemoryDisk) => Promise<void>,
  look: (disk: MemoryDisk) => string,
): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const disk = new MemoryDisk(seed);
    await prepare(disk);
    seen.add(look(disk.crash()));
  }
  return seen;
}

const sectorsOf = (bytes: Uint8Array) =>
  Array.from({ length: Math.ceil(bytes.length / SECTOR) }, (_, i) => bytes[i * SECTOR]).join("");

const content = (path: string) => (disk: MemoryDisk) => {
  try {
    return sectorsOf(disk.bytes(path));
  } catch {
    return "gone";
  }
};

async function durable(disk: MemoryDisk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(path, { create: true });
  file.write(bytes, 0);
  await file.sync();
  await disk.syncDir("");
}

describe("a power cut on MemoryDisk", () => {
  it("keeps what was synced", async () => {
    const seen = await outcomes((disk) => durable(disk, "f", filled(2 * SECTOR, 1)), content("f"));
    assert.deepEqual([...seen], ["11"]);
  });

  it("keeps each unsynced sector or loses it, on its own", async () => {
    const seen = await outcomes(async (disk) => {
      await durable(disk, "f", filled(2 * SECTOR, 1));
      const file = await disk.open("f", { create: false });
      file.write(filled(2 * SECTOR, 2), 0);
    }, content("f"));
    assert.deepEqual([...seen].toSorted(), ["11", "12", "21", "22"]);
  });

  it("tears what a sync is about to write, until it has ended", async () => {
    const seen = await outcomes(async (disk) => {
      await durable(disk, "f", filled(2 * SECTOR, 1));
      const file = await disk.open("f", { create: false });
      file.write(filled(2 * SECTOR, 2), 0);
      void file.sync();
    }, content("f"));
    assert.deepEqual([...seen].toSorted(), ["11", "12", "21", "22"]);
  });

  it("keeps of a sync only what was written before it was called", async () => {
    const seen = await outcomes(async (disk) => {
      await durable(disk, "f", filled(2 * SECTOR, 1));
      const file = await disk.open("f", { create: false });
      file.write(filled(SECTOR, 2), 0);
      const syncing = file.sync();
      file.write(filled(SECTOR, 3), 0);
      file.write(filled(SECTOR, 3), SECTOR);
      await syncing;
    }, content("f"));
    assert.deepEqual([...seen].toSorted(), ["21", "23", "31", "33"]);
  });

  it("grows a file, with zeros for what did not land, or does not", async () => {
    const seen = await outcomes(async (disk) => {
      await durable(disk, "f", filled(SECTOR, 1));
      const file = await disk.open("f", { create: false });
      file.write(filled(2 * SECTOR, 2), SECTOR);
    }, content("f"));
    assert.deepEqual([...seen].toSorted(), ["1", "100", "102", "120", "122"]);
  });

  it("may undo changes of size that were not synced, the last ones first", async () => {
    const seen = await outcomes(async (disk) => {
      await durable(disk, "f", filled(3 * SECTOR, 1));
      const file = await disk.open("f", { create: false });
      await file.truncate(SECTOR);
      await file.truncate(3 * SECTOR);
    }, content("f"));
    assert.deepEqual([...seen].toSorted(), ["1", "100", "111"]);
  });

  it("keeps a cut that was synced", async () => {
    const seen = await outcomes(async (disk) => {
      await durable(disk, "f", filled(3 * SECTOR, 1));
      const file = await disk.open("f", { create: false });
      await file.truncate(SECTOR);
      await file.truncate(2 * SECTOR);
      await file.sync();
    }, content("f"));
    assert.deepEqual([...seen], ["10"]);
  });

  it("may forget a new name, unless its directory was synced", async () => {
    const make = async (disk: MemoryDisk) => {
      const file = await disk.open("d/f", { create: true });
      file.write(filled(1, 1), 0);
      await file.sync();
    };
    assert.deepEqual([...(await outcomes(make, content("d/f")))].toSorted(), ["1", "gone"]);
    const makeDurably = async (disk: MemoryDisk) => {
      await make(disk);
      await disk.syncDir("d");
    };
    assert.deepEqual([...(await outcomes(makeDurably, content("d/f")))], ["1"]);
  });

  it("forgets no name that one of two overlapping syncs of its directory has told", async () => {
    const make = async (disk: MemoryDisk) => {
      const first = disk.syncDir("d");
      const made = disk.open("d/f", { create: true });
      await Promise.all([first, made, disk.syncDir("d")]);
    };
    assert.deepEqual([...(await outcomes(make, content("d/f")))], [""]);
  });

  it("may bring a removed name back, unless its directory was synced", async () => {
    const remove = async (disk: MemoryDisk) => {
      await durable(disk, "f", filled(1, 1));
      await disk.remove("f");
    };
    assert.deepEqual([...(await outcomes(remove, content("f")))].toSorted(), ["1", "gone"]);
    const removeDurably = async (disk: MemoryDisk) => {
      await remove(disk);
      await disk.syncDir("");
    };
    assert.deepEqual([...(await outcomes(removeDurably, content("f")))], ["gone"]);
  });

  it("leaves the old file or the new one when replaceFile() was cut anywhere", async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 400; seed++) {
      const disk = new MemoryDisk(seed);
      await durable(disk, "f", filled(2 * SECTOR, 1));
      let done = false;
      const replacing = replaceFile(disk, "f", [filled(SECTOR, 2), filled(SECTOR, 2)]).then(() => {
        done = true;
      });
      for (let turns = seed % 40; turns > 0; turns--) await Promise.resolve();
      const found = content("f")(disk.crash());
      seen.add(found);
      if (done) assert.equal(found, "22");
      await replacing;
    }
    assert.deepEqual([...seen].toSorted(), ["11", "22"]);
  });

  it("is the same for the same seed", async () => {
    const once = async () => {
      const disk = new MemoryDisk(5);
      await durable(disk, "f", filled(20 * SECTOR, 1));
      (await disk.open("f", { create: false })).write(filled(20 * SECTOR, 2), 0);
      return content("f")(disk.crash());
    };
    assert.equal(await once(), await once());
  });
});

describe("a killed process on MemoryDisk", () => {
  it("leaves all it wrote to the next one, and unsynced things unsynced", async () => {
    const seen = await outcomes(
      async (disk) => {
        await durable(disk, "f", filled(SECTOR, 1));
        (await disk.open("f", { create: false })).write(filled(SECTOR, 2), 0);
      },
      (disk) => content("f")(disk.clone()),
    );
    assert.deepEqual([...seen].toSorted(), ["1", "2"]);
    const disk = new MemoryDisk();
    await durable(disk, "f", filled(SECTOR, 1));
    (await disk.open("f", { create: false })).write(filled(SECTOR, 2), 0);
    const next = disk.clone();
    assert.equal(content("f")(next), "2");
    (await next.open("f", { create: false })).write(filled(SECTOR, 3), 0);
    assert.equal(content("f")(disk), "2", "the two are apart");
  });
});

describe("a failing MemoryDisk", () => {
  it("drops what a failed sync was to write, while the cache goes on showing it", async () => {
    const disk = new MemoryDisk();
    await durable(disk, "f", filled(SECTOR, 1));
    const file = await disk.open("f", { create: false });
    file.write(filled(SECTOR, 2), 0);
    disk.failSync = 0;
    await assert.rejects(file.sync(), /input\/output error/);
    await file.sync(); // says yes
    assert.equal(content("f")(disk), "2");
    assert.equal(content("f")(disk.crash()), "1");
  });

  it("never takes what is written where nothing was before the failed sync, and says yes", async () => {
    const disk = new MemoryDisk();
    const file = await disk.open("f", { create: true });
    await disk.syncDir("");
    file.write(filled(SECTOR, 1), 0);
    await file.sync();
    file.write(filled(SECTOR, 2), SECTOR);
    disk.failSync = 0;
    await assert.rejects(file.sync(), /input\/output error/);
    const next = disk.clone();
    const again = await next.open("f", { create: false });
    again.write(filled(2 * SECTOR, 3), 0);
    await again.sync();
    assert.equal(content("f")(next), "33");
    assert.equal(content("f")(next.crash()), "30");

    await again.truncate(SECTOR);
    again.write(filled(SECTOR, 4), SECTOR);
    await again.sync();
    assert.equal(content("f")(next.crash()), "34", "cut and written anew it is a new place");
    const mounted = next.crash();
    await durable(mounted, "f", filled(2 * SECTOR, 5));
    assert.equal(content("f")(mounted.crash()), "55", "mounted anew it is known what is there");
  });

  it("fails the call it was told to, once, and writes half of it", async () => {
    const disk = new MemoryDisk();
    const file = await disk.open("f", { create: true });
    disk.failWrite = 1;
    file.write(filled(4, 1), 0);
    assert.throws(() => file.write(filled(4, 2), 4), { code: "EIO" });
    file.write(filled(1, 3), 6);
    assert.deepEqual([...disk.bytes("f")], [1, 1, 1, 1, 2, 2, 3]);
    disk.failWrite = 0;
    disk.failWriteBy = "no room";
    assert.throws(() => file.write(filled(4, 4), 4), NoRoom);
  });
});

describe("a MemoryDisk of a size", () => {
  it("takes what there is room for, and more once there is", async () => {
    const disk = new MemoryDisk();
    const [f, g] = [await disk.open("f", { create: true }), await disk.open("g", { create: true })];
    await f.truncate(10 * SECTOR);
    assert.equal(disk.used, 0, "what was never written takes no room");
    f.write(filled(SECTOR, 1), 0);
    disk.capacity = 3 * SECTOR;
    assert.deepEqual(await disk.space(), { size: 3 * SECTOR, free: 2 * SECTOR });
    assert.throws(() => g.write(filled(3 * SECTOR, 2), 0), NoRoom);
    assert.equal(await g.size(), 2 * SECTOR);
    f.write(filled(SECTOR, 3), 0); // into what it has
    assert.throws(() => f.write(filled(1, 3), SECTOR), NoRoom);
    await assert.rejects(disk.open("h", { create: true }), NoRoom);
    await g.truncate(SECTOR);
    f.write(filled(1, 3), SECTOR);
    await disk.remove("g");
    assert.equal(disk.left, SECTOR);
    for (const left of [disk.clone(), disk.crash()]) assert.equal(left.capacity, 3 * SECTOR);
    assert.equal(disk.clone().used, disk.used);
  });
});

describe("a decaying MemoryDisk", () => {
  it("cannot read a bad sector, nor can who comes after, and reads the others", async () => {
    const disk = new MemoryDisk();
    await durable(disk, "f", filled(3 * SECTOR, 1));
    disk.spoil("f", 1);
    for (const one of [disk, disk.clone(), disk.crash()]) {
      const file = await one.open("f", { create: false });
      await assert.rejects(file.read(filled(3 * SECTOR, 0), 0), { code: "EIO" });
      await assert.rejects(file.read(filled(1, 0), SECTOR), { code: "EIO" });
      assert.equal(await file.read(filled(SECTOR, 0), 2 * SECTOR), SECTOR);
      const target = filled(3 * SECTOR, 9);
      assert.equal(await salvaging(file).read(target, 0), 3 * SECTOR);
      assert.equal(sectorsOf(target), "101");
      const limited = salvaging(file, { below: SECTOR + 10 });
      await assert.rejects(limited.read(target, 0), { code: "EIO" });
    }
  });

  it("loses a file for good, name and all", async () => {
    const disk = new MemoryDisk();
    await durable(disk, "f", filled(SECTOR, 1));
    disk.lose("f");
    assert.equal(content("f")(disk), "gone");
    assert.equal(content("f")(disk.crash()), "gone");
    await assert.rejects(disk.open("f", { create: false }), { code: "ENOENT" });
  });
});

describe("a MemoryDisk that takes less at a time", () => {
  it("has all of it in the end", async () => {
    const disk = new MemoryDisk(3);
    disk.shortWrites = 100;
    const file = await disk.open("f", { create: true });
    const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i % 251);
    file.write(bytes, 7);
    assert.deepEqual(disk.bytes("f").subarray(7), bytes);
  });

  it("is written to until it has, and given up when it takes nothing", () => {
    const asked: number[] = [];
    writeFully(10, (from) => {
      asked.push(from);
      return 4;
    });
    assert.deepEqual(asked, [0, 4, 8]);
    assert.throws(() => writeFully(1, () => 0), /took 0 bytes/);
  });
});

describe("a paced MemoryDisk", () => {
  it("does nothing durable, and changes no name, before it may", async () => {
    const waiting: [string, () => void][] = [];
    const pace = (call: string) => new Promise<void>((goOn) => void waiting.push([call, goOn]));
    const disk = new MemoryDisk(1, pace);
    const file = await disk.open("a", { create: true });
    file.write(filled(SECTOR, 1), 0);
    const done = [file.sync(), disk.syncDir(""), disk.rename("a", "b")];
    await Promise.resolve();
    assert.deepEqual(
      waiting.map(([call]) => call),
      ["sync a", "sync ", "rename a"],
    );
    assert(disk.has("a") && !disk.has("b"));
    for (const [, goOn] of waiting) goOn();
    await Promise.all(done);
    assert.deepEqual([disk.has("a"), disk.has("b")], [false, true]);
  });
});
