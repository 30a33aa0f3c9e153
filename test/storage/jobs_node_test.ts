/**
 * Jobs in a worker thread, on a real disk.
 *
 * @module
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { runPath } from "../../storage/dedupe_run.ts";
import { RunDamage } from "../../storage/dedupe_run_file.ts";
import { workerJobs } from "../../storage/jobs_node.ts";
import { draft, KiB, OpenStore } from "./fixture.ts";

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "tidegate-jobs-"));
  try {
    await body(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const open = (dir: string) =>
  OpenStore.on({ disk: openNodeDisk(dir), jobs: workerJobs(dir), segmentBytes: 4 * KiB });
const filesOf = (dir: string, room: string, ending: string) =>
  readdirSync(join(dir, room)).filter((name) => name.endsWith(ending));

/** Threads and processes start slowly on a busy machine. */
const PATIENCE = { timeout: 60_000 };

describe("workerJobs()", () => {
  it("builds sidecars and snapshots that a new start uses", PATIENCE, () =>
    withDir(async (dir) => {
      const first = await open(dir);
      await first.putAll(Array.from({ length: 120 }, (_, i) => draft({ queueOffset: i })));
      const rows = await first.unitsOf(1, 0);
      await first.store.close();
      assert.deepEqual(first.reports, []);
      const logs = filesOf(dir, "log", ".log").length;
      assert(logs > 4);
      assert.equal(filesOf(dir, "log", ".idx").length, logs - 1);
      assert.equal(filesOf(dir, "snapshots", ".snap").length, 2);

      const second = await open(dir);
      assert(second.store.log.recovery.frames < 20);
      assert.deepEqual(await second.unitsOf(1, 0), rows);
      assert.deepEqual(second.fold.dump(), first.fold.dump());
      await second.store.close();
    }),
  );

  it("builds dedupe runs and merges them", PATIENCE, () =>
    withDir(async (dir) => {
      const first = await open(dir);
      const keyHash = (i: number) => new Uint8Array(16).fill(i);
      const fingerprint = new Uint8Array(8);
      const keyed = Array.from({ length: 120 }, (_, i) =>
        draft({ queueOffset: i, dedupe: { keyHash: keyHash(i), fingerprint } }),
      );
      await first.putAll(keyed);
      const { dedupe } = first.store;
      const now = first.clock.now();
      while (dedupe.young(keyHash(60), now) !== undefined) await setImmediate();
      assert.equal((await dedupe.older(keyHash(60), now))?.queueOffset, 60);
      while (filesOf(dir, "dedupe", ".run").length > 1) await setImmediate();
      await first.store.close();

      const second = await open(dir);
      for (const i of [0, 60, 119]) {
        const young = second.store.dedupe.young(keyHash(i), now);
        const found = await second.store.dedupe.older(keyHash(i), now);
        assert(young !== undefined || found?.queueOffset === i, `key ${i}`);
      }
      await second.store.close();
      assert.deepEqual([...first.reports, ...second.reports], []);
    }),
  );

  it("says which dedupe run is damaged", PATIENCE, () =>
    withDir(async (dir) => {
      mkdirSync(join(dir, "dedupe"));
      const range = { from: 5, to: 9 };
      writeFileSync(join(dir, runPath(range)), "no run");
      const jobs = workerJobs(dir);
      for (const job of [
        { kind: "merge", inputs: [range], expired: 0 },
        { kind: "check", range },
      ] as const) {
        await assert.rejects(jobs.run(job), (error) => {
          assert(error instanceof RunDamage);
          assert.deepEqual(error.range, range);
          return true;
        });
      }
      await jobs.close();
    }),
  );

  it("says why a job failed, and goes on with the next", PATIENCE, () =>
    withDir(async (dir) => {
      mkdirSync(join(dir, "log"));
      mkdirSync(join(dir, "snapshots"));
      const jobs = workerJobs(dir);
      const seal = {
        kind: "seal",
        base: 77,
        end: 99,
        marks: [],
        holding: [],
        timers: true,
      } as const;
      const failing = jobs.run(seal);
      const snapshot = {
        kind: "snapshot",
        logOffset: 5,
        walkFrom: 0,
        changes: [],
        since: 0,
      } as const;
      const following = jobs.run(snapshot);
      await assert.rejects(failing, /ENOENT|No such file/);
      await following;
      assert.equal(filesOf(dir, "snapshots", ".snap").length, 1);
      await jobs.close();
    }),
  );

  it("ends a worker that is idle after a large job, and starts another when needed", PATIENCE, () =>
    withDir(async (dir) => {
      for (const room of ["log", "snapshots"]) mkdirSync(join(dir, room));
      const jobs = workerJobs(dir, { idleMs: 1 });
      const prepare = { kind: "prepare", path: "log/next.spare", from: 0, to: 4096 } as const;
      for (const logOffset of [5, 6, 7]) {
        await jobs.run(prepare);
        assert.equal(jobs.workers, 1, "a small one changes nothing");
        const snapshot = {
          kind: "snapshot",
          logOffset,
          walkFrom: 0,
          changes: [],
          since: 0,
        } as const;
        const both = [jobs.run(snapshot), jobs.run(prepare)];
        await Promise.all(both);
        while (jobs.workers > 0) await setImmediate();
      }
      assert.equal(filesOf(dir, "snapshots", ".snap").length, 2);
      await jobs.close();
    }),
  );

  it("keeps a process alive until its last job is done, and no longer", PATIENCE, () =>
    withDir(async (dir) => {
      const script = join(dir, "close.ts");
      const fixture = join(import.meta.dirname, "fixture.ts");
      const storage = join(import.meta.dirname, "..", "..", "storage");
      const data = join(dir, "data");
      writeFileSync(
        script,
        `import { draft, OpenStore } from ${JSON.stringify(fixture)};
         import { openNodeDisk } from ${JSON.stringify(join(storage, "base/disk_node.ts"))};
         import { workerJobs } from ${JSON.stringify(join(storage, "jobs_node.ts"))};
         const root = ${JSON.stringify(data)};
         const open = await OpenStore.on({ disk: openNodeDisk(root), jobs: workerJobs(root) });
         await open.putAll([draft({ queueOffset: 0 })]);
         await open.store.close();
         console.log("closed");`,
      );
      const { code, output } = await run(script);
      assert.equal(code, 0, output);
      assert.match(output, /closed/);
      assert.equal(filesOf(data, "snapshots", ".snap").length, 1);
    }),
  );
});

/** Runs a script on the runtime this test runs on. */
function run(script: string): Promise<{ code: number | null; output: string }> {
  const args = "deno" in process.versions ? ["run", "-A", "--no-check", script] : [script];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => void (output += String(chunk)));
  child.stderr.on("data", (chunk) => void (output += String(chunk)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}
