/**
 * The dedupe store beside a plain Map: keys put at random times, looked up while
 * segments are sealed, runs merged, the store stopped in every way, and its
 * files damaged or lost.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { RUNS_MAX } from "../../storage/dedupe_plan.ts";
import { runPath, runRanges } from "../../storage/dedupe_run.ts";
import { inlineJobs, type Job, type Jobs } from "../../storage/jobs.ts";
import { segmentPath, sidecarPath } from "../../storage/segment.ts";
import { seeds } from "../effort.ts";
import { KiB } from "./fixture.ts";
import { filled, type Found, hashOf, Keyed, keysOf, WINDOW_MS } from "./keyed_store.ts";

async function history(seed: number): Promise<ReadonlySet<string>> {
  const prng = new Prng(seed);
  const seen = new Set<string>();
  let keyed = await Keyed.on();
  const pool = keysOf(prng.pick([5, 60, 400]));
  for (let step = 0; step < 250; step++) {
    const roll = prng.below(100);
    const { clock, disk } = keyed;
    if (roll < 45) keyed.put(prng.pick(pool));
    else if (roll < 50) keyed.putPlain();
    else if (roll < 65) clock.advance(prng.below(prng.chance(10) ? WINDOW_MS : 300));
    else if (roll < 75) keyed.open.store.log.flush();
    else if (roll < 80) await keyed.open.settle();
    else if (roll < 96) {
      const [key, now] = [prng.pick(pool), keyed.now];
      const expected = keyed.expected(key, now);
      // What is appended while it looks is seen as well.
      const looking = keyed.lookup(key);
      const again = prng.chance(30) && pool.length > 5 ? prng.pick(pool) : undefined;
      if (again !== undefined && again !== key) keyed.put(again);
      assert.deepEqual(await looking, expected, `${key} at step ${step}`);
      seen.add(expected ? "known" : "new");
    } else {
      await keyed.open.settle();
      const how = prng.pick(["close", "kill", "power cut", "run lost", "run damaged"] as const);
      seen.add(how);
      if (how === "close") await keyed.open.store.close();
      const left = how === "power cut" ? disk.crash() : disk.clone();
      const [range] = runRanges(await left.list("dedupe")).slice(-1);
      if (range && how === "run lost") await left.remove(runPath(range));
      if (range && how === "run damaged") {
        const size = left.bytes(runPath(range)).length;
        const at = prng.below(size);
        left.damage(runPath(range), (bytes) => void (bytes[at] = (bytes[at] as number) ^ 1));
      }
      keyed = await keyed.reopen(left);
      await keyed.check(pool);
    }
  }
  await keyed.quiet();
  await keyed.check(pool);
  assert((await keyed.runs()).length <= RUNS_MAX, "at most four runs at rest");
  assert.deepEqual(keyed.open.fatal, []);
  await keyed.open.store.close();
  return seen;
}

describe("the dedupe store", () => {
  it("knows what a Map knows, through seals, merges, stops and damage", {
    timeout: 90_000,
  }, async () => {
    const seen = new Set<string>();
    for (const seed of seeds(50)) {
      const sights = await history(seed).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      });
      for (const sight of sights) seen.add(sight);
    }
    const kinds = ["close", "kill", "known", "new", "power cut", "run damaged", "run lost"];
    assert.deepEqual([...seen].toSorted(), kinds);
  });

  it("keeps keys in memory until their run is in use, then no longer", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const disk = new MemoryDisk();
    const inner = inlineJobs({ disk, crc32 });
    const jobs: Jobs = {
      run: async (job) => {
        if (job.kind === "dedupe") await held;
        await inner.run(job);
      },
      close: () => inner.close(),
    };
    const keyed = await Keyed.on({ disk, options: { jobs } });
    for (const key of keysOf(40)) keyed.put(key);
    await keyed.quiet();
    assert.deepEqual(await keyed.runs(), []);
    assert.equal(keyed.open.store.dedupe.older(hashOf("k0"), keyed.now), undefined);
    await keyed.check();
    release();
    await keyed.quiet();
    assert.equal((await keyed.runs()).length, 1);
    assert.equal(keyed.open.store.dedupe.young(hashOf("k0"), keyed.now), undefined);
    await keyed.check();
  });

  it("is of another version once memory no longer has a key it had", async () => {
    const keyed = await Keyed.on();
    for (const key of keysOf(40)) keyed.put(key);
    const { dedupe } = keyed.open.store;
    const look = () => ({
      young: dedupe.young(hashOf("k0"), keyed.now) !== undefined,
      version: dedupe.version,
    });
    const looks = [look()];
    const settled = keyed.quiet();
    for (; looks.at(-1)?.young; await Promise.resolve()) {
      looks.push(look());
      if (looks.length % 1000 === 0) await setImmediate();
    }
    await settled;
    const after = looks.at(-1);
    assert.equal(after?.young, false);
    assert.deepEqual(
      looks.filter(({ young, version }) => young && version === after?.version),
      [],
    );
  });

  it("asks no file about keys it never saw", async () => {
    const keyed = await filled(60);
    const { dedupe } = keyed.open.store;
    const asked = keysOf(500, "other").filter(
      (key) => dedupe.older(hashOf(key), keyed.now) !== undefined,
    );
    assert(asked.length < 25, `${asked.length} of 500`);
  });

  it("knows a key in a run to the last millisecond of its window", async () => {
    const keyed = await filled(60);
    const { publishedAt } = keyed.model.get("k3") as Found;
    assert.equal(keyed.open.store.dedupe.young(hashOf("k3"), keyed.now), undefined);
    keyed.clock.advance(publishedAt + WINDOW_MS - 1 - keyed.now);
    assert.equal((await keyed.lookup("k3"))?.publishedAt, publishedAt);
    keyed.clock.advance(1);
    assert.equal(await keyed.lookup("k3"), undefined);
    assert.notEqual(await keyed.lookup("k4"), undefined);
  });

  it("removes a run when all of it is out of the window", async () => {
    const keyed = await filled(60);
    assert.equal((await keyed.runs()).length, 1);
    keyed.clock.advance(WINDOW_MS + 1);
    for (let i = 0; i < 30; i++) keyed.putPlain();
    await keyed.quiet();
    assert.deepEqual(await keyed.runs(), []);
    await keyed.check();
  });

  it("builds a damaged run again while the reader waits, and says so", async () => {
    const keyed = await filled(60);
    const [range] = await keyed.runs();
    assert(range);
    keyed.disk.damage(runPath(range), (bytes) => void (bytes[5000] = (bytes[5000] as number) ^ 1));
    await Promise.all(keysOf(60).map((key) => keyed.check([key])));
    assert.equal(keyed.open.reports.length, 1);
    assert.match(String(keyed.open.reports[0]), /damaged/);
    await keyed.quiet();
    assert.deepEqual(await keyed.runs(), [range]);
  });

  it("refuses keys that lead to damage where the log no longer has the segment", async () => {
    const before = await filled(60);
    await before.open.store.close();
    const { disk } = before;
    const [range] = await before.runs();
    assert(range);
    // What retention leaves: the last segments only.
    const names = (await disk.list("log")).filter((name) => name.endsWith(".log"));
    for (const name of names.slice(0, -1)) {
      const base = Number(name.slice(0, 20));
      await disk.remove(segmentPath(base));
      await disk.remove(sidecarPath(base));
    }
    const keyed = await before.reopen(disk.clone());
    await keyed.check();

    disk.damage(runPath(range), (bytes) => void (bytes[5000] = (bytes[5000] as number) ^ 1));
    const blocks = await before.reopen(disk.clone());
    const outcomes = new Set<string>();
    for (const key of keysOf(60)) {
      const found = await blocks.lookup(key).catch((error: unknown) => {
        assert(error instanceof TidegateError, String(error));
        return error.code;
      });
      if (found !== "data-damaged") assert.deepEqual(found, blocks.expected(key));
      outcomes.add(found === "data-damaged" ? found : "told");
    }
    assert.deepEqual([...outcomes].toSorted(), ["data-damaged", "told"]);

    disk.damage(runPath(range), (bytes) => void (bytes[0] = 0));
    const header = await before.reopen(disk);
    await assert.rejects(header.lookup("never seen"), { code: "data-damaged" });
    assert.equal(header.open.reports.length, 1);
  });

  it("calls no key new while a run cannot be built, and mends by itself", async () => {
    const before = await filled(60);
    const left = before.disk.clone();
    for (const range of runRanges(await left.list("dedupe"))) await left.remove(runPath(range));
    const inner = inlineJobs({ disk: left, crc32 });
    let full = true;
    const jobs: Jobs = {
      run: (job: Job) =>
        full && job.kind === "dedupe" ? Promise.reject(new Error("ENOSPC")) : inner.run(job),
      close: () => inner.close(),
    };
    const keyed = await before.reopen(left, { jobs });
    await assert.rejects(keyed.lookup("k0"), { code: "overloaded" });
    await assert.rejects(keyed.lookup("never seen"), { code: "overloaded" });
    full = false;
    await keyed.check();
    assert.equal(await keyed.lookup("never seen"), undefined);
  });

  it("does not keep a publish waiting for much of the log to be indexed", async () => {
    const before = await filled(60);
    const left = before.disk.clone();
    for (const range of runRanges(await left.list("dedupe"))) await left.remove(runPath(range));
    const dedupe = { windowMs: WINDOW_MS, mendWaitBytesMax: 4 * KiB };
    const keyed = await before.reopen(left, { dedupe });
    await assert.rejects(keyed.lookup("k0"), { code: "overloaded" });
    await keyed.quiet();
    await keyed.check();
    assert.deepEqual(keyed.open.reports, []);
  });

  it("admits no more keys than memory may hold while runs cannot be written", async () => {
    const disk = new MemoryDisk();
    const inner = inlineJobs({ disk, crc32 });
    let full = true;
    const jobs: Jobs = {
      run: (job: Job) =>
        full && job.kind === "dedupe" ? Promise.reject(new Error("ENOSPC")) : inner.run(job),
      close: () => inner.close(),
    };
    const dedupe = { windowMs: WINDOW_MS, youngBytesMax: 8 * KiB };
    const keyed = await Keyed.on({ disk, options: { jobs, dedupe } });
    let count = 0;
    const fill = () => {
      for (; count < 1000; count++) {
        keyed.open.store.dedupe.admit();
        keyed.put(`k${count}`);
      }
    };
    assert.throws(fill, { code: "overloaded" });
    await keyed.quiet();
    await keyed.check();
    full = false;
    keyed.putPlain();
    for (let i = 0; i < 30; i++) keyed.putPlain();
    await keyed.quiet();
    keyed.open.store.dedupe.admit();
    await keyed.check();
  });

  it("keeps to its budget of filters, and is no less true", async () => {
    const dedupe = { windowMs: WINDOW_MS, bloomBytesMax: 64 };
    const keyed = await filled(600, { dedupe });
    await keyed.check();
    for (const key of keysOf(50, "other")) assert.equal(await keyed.lookup(key), undefined);
  });

  it("is not asked and not there for messages without a key", async () => {
    const keyed = await Keyed.on();
    for (let i = 0; i < 60; i++) keyed.putPlain();
    await keyed.quiet();
    assert.deepEqual(await keyed.runs(), []);
    await keyed.open.store.close();
    const again = await keyed.reopen(keyed.disk);
    assert.deepEqual(await again.runs(), []);
  });

  it("leaves no aside behind when a merge is cut off", async () => {
    const keyed = await filled(60);
    const left = keyed.disk.clone();
    (
      await left.open("dedupe/00000000000000000000-00000000000000000009.run.tmp", { create: true })
    ).write(Uint8Array.of(1), 0);
    const again = await keyed.reopen(left);
    const names = await left.list("dedupe");
    assert(names.every((name) => name.endsWith(".run")));
    await again.check();
  });
});
