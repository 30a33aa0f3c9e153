/** @module */

import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { holdDataDir } from "../../src/cli/data_dir.ts";
import { EXIT } from "../../src/cli/exit.ts";
import type { Repaired } from "../../src/cli/repair.ts";
import type { Findings } from "../../src/cli/verify.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { SEGMENT_HEADER_SIZE } from "../../storage/segment.ts";
import { FIRST_KEY } from "../../storage/timer_entry.ts";
import { TIMER_DIR, timerPath } from "../../storage/timer_layout.ts";
import { writeTimerFile } from "../../storage/timer_writer.ts";
import { withTempDir } from "../e2e/server.ts";
import {
  contentOf,
  dropSome,
  flipBit,
  flipByte,
  writeDataDir,
  type Written,
} from "../fakes/data_dir.ts";
import { runCommand } from "../fakes/terminal.ts";
import { draft, KiB, OpenStore, type UnitRow } from "../storage/fixture.ts";

const COUNT = 100;

/** What `check --json` finds after `spoil` was done to a clean data directory. */
function checked(spoil: (dir: string, written: Written) => void | Promise<void> = () => {}) {
  return withTempDir(async (dir) => {
    const written = await writeDataDir(dir, { count: COUNT });
    await spoil(dir, written);
    const before = contentOf(dir);
    const { exitCode, printed } = await runCommand(["check", dir, "--json"]);
    assert.deepEqual(contentOf(dir), before, "check changed the directory");
    return { exitCode, findings: JSON.parse(printed[0] ?? "") as Findings, written };
  });
}

describe("tidegate check", () => {
  it("judges no log that is giving way to another, nor makes a copy of it", () =>
    withTempDir(async (dir) => {
      const [data, copy] = [join(dir, "data"), join(dir, "copy")];
      mkdirSync(data);
      const { segments } = await writeDataDir(data, { count: COUNT });
      writeFileSync(join(data, "replacing"), "TIDEREP1");
      const before = contentOf(data);
      for (const more of [[], ["--json"], ["--repair", "--to", copy]]) {
        const { exitCode, printed, warned } = await runCommand(["check", data, ...more]);
        assert.equal(exitCode, EXIT.unavailable.code);
        assert.deepEqual(printed, []);
        assert.match(warned.join(), /^tidegate: Cannot check ".*": its log is giving way to that/);
      }
      assert.deepEqual(contentOf(data), before);
      assert(!existsSync(copy));
      const { exitCode, printed, warned } = await runCommand(["inspect", segments[0] ?? ""]);
      assert.equal(exitCode, EXIT.ok.code);
      assert(printed.length > 0);
      assert.match(
        warned.join(),
        /^note: the log in ".*" is giving way .* its segments are neither$/,
      );
    }));

  it("finds a directory that was closed clean", async () => {
    const { exitCode, findings, written } = await checked();
    assert.equal(exitCode, EXIT.ok.code);
    assert.deepEqual(findings, {
      segments: written.segments.length,
      frames: COUNT,
      end: written.end,
      durableEnd: written.end,
      damaged: [],
      notes: [],
    });
    assert(findings.segments > 2);
  });

  const places: [name: string, at: (message: number) => number][] = [
    ["size", (message) => message],
    ["checksum", (message) => message + 5],
    ["header", (message) => message + 30],
    ["payload", (message) => message + 60],
  ];
  for (const [name, at] of places) {
    it(`finds a flipped bit in the ${name} of a frame, and its range`, async () => {
      const { exitCode, findings, written } = await checked((_, { messages, ...rest }) =>
        flipBit({ messages, ...rest }, at(messages[40] as number)),
      );
      assert.equal(exitCode, EXIT.negative.code);
      const [from, to] = written.messages.slice(40);
      const reason = "the bytes are not what was written";
      assert.deepEqual(findings.damaged, [{ from, to, reason }]);
      assert.equal(findings.frames, COUNT - 1);
    });
  }

  it("finds a flipped bit in the last frame, since the checkpoint covers it", async () => {
    const { exitCode, findings, written } = await checked((_, all) =>
      flipBit(all, (all.messages.at(-1) as number) + 60),
    );
    assert.equal(exitCode, EXIT.negative.code);
    const from = written.messages.at(-1);
    assert.deepEqual(
      findings.damaged.map((range) => [range.from, range.to]),
      [[from, written.end]],
    );
  });

  it("finds a flipped bit in the header of a segment", async () => {
    const { exitCode, findings } = await checked((_, { segments }) =>
      flipByte(segments[1] as string, 9),
    );
    assert.equal(exitCode, EXIT.negative.code);
    assert.match(findings.damaged[0]?.reason ?? "", /header is damaged/);
    assert.equal(findings.frames, COUNT);
  });

  it("finds a segment that is gone", async () => {
    const { exitCode, findings } = await checked((_, { segments }) =>
      unlinkSync(segments[1] as string),
    );
    assert.equal(exitCode, EXIT.negative.code);
    assert(findings.damaged.length > 0);
  });

  it("finds a segment of another log, whole as it is", async () => {
    const { exitCode, findings } = await checked((_, { segments }) =>
      withTempDir(async (dir) => {
        const other = await writeDataDir(dir, { count: COUNT, topicGen: 2 });
        copyFileSync(other.segments[1] as string, segments[1] as string);
      }),
    );
    assert.equal(exitCode, EXIT.negative.code);
    assert.deepEqual(
      findings.damaged.map(({ reason }) => reason),
      Array(2).fill("the segment does not follow on the one before"),
    );
  });

  it("finds a log that ends before what had been synced", async () => {
    const { exitCode, findings, written } = await checked((_, { segments }) =>
      truncateSync(segments.at(-1) as string, SEGMENT_HEADER_SIZE),
    );
    assert.equal(exitCode, EXIT.negative.code);
    assert.equal(findings.damaged.at(-1)?.to, written.end);
  });

  it("only notes a torn tail, which nobody was promised", async () => {
    const { exitCode, findings, written } = await checked((dir, all) => {
      // Without these two nothing says that the last frame had been synced.
      unlinkSync(join(dir, "checkpoint"));
      rmSync(join(dir, "snapshots"), { recursive: true });
      flipBit(all, (all.messages.at(-1) as number) + 60);
    });
    assert.equal(exitCode, EXIT.ok.code);
    assert.equal(findings.end, written.messages.at(-1));
    assert.match(findings.notes.join(), /the tail is torn/);
  });

  it("only notes a damaged index and a damaged snapshot: both are derived", async () => {
    const { exitCode, findings } = await checked((dir, { segments }) => {
      flipByte((segments[0] as string).replace(/log$/, "idx"), -1);
      const snapshots = readdirSync(join(dir, "snapshots"));
      for (const name of snapshots) flipByte(join(dir, "snapshots", name), -1);
    });
    assert.equal(exitCode, EXIT.ok.code);
    assert.match(findings.notes.join("\n"), /index of the segment at 0 is not whole/);
    assert.match(findings.notes.join("\n"), /snapshot at \d+ is damaged/);
  });

  it("only notes damaged timers: they are derived as well", async () => {
    const { exitCode, findings } = await checked(async (dir) => {
      const disk = openNodeDisk(dir);
      const content = { until: 9, after: FIRST_KEY, sources: [] };
      await disk.makeDir(TIMER_DIR);
      for (const range of [
        { from: 0, to: 500 },
        { from: 500, to: 900 },
      ]) {
        await writeTimerFile({ disk, crc32 }, { ...range, ...content });
      }
      flipByte(join(dir, timerPath({ from: 500, to: 900 })), -1);
    });
    assert.equal(exitCode, EXIT.ok.code);
    assert.deepEqual(findings.notes, [
      "the timers from 500 to 900 are not whole; they are built again",
    ]);
  });

  it("knows where the log starts: what was before is neither there nor missing", async () => {
    let old = new Uint8Array(0);
    let frames = 0;
    const { exitCode, findings, written } = await checked(async (dir, { segments }) => {
      old = readFileSync(segments[0] as string);
      ({ frames } = await dropSome(dir));
      writeFileSync(segments[0] as string, old.fill(0, 100)); // a crash had left it
    });
    assert.equal(exitCode, EXIT.ok.code);
    assert.deepEqual([findings.frames, findings.damaged], [frames, []]);
    assert(frames < written.messages.length);
    assert.match(findings.notes.join("\n"), /1 segments before \d+ are not needed any more/);
  });

  it("finds what is missing where the log starts", async () => {
    let start = 0;
    const { exitCode, findings } = await checked(async (dir, { segments }) => {
      ({ start } = await dropSome(dir));
      unlinkSync(segments[2] as string);
    });
    assert.equal(exitCode, EXIT.negative.code);
    assert.equal(findings.damaged[0]?.from, start);
  });

  it("speaks to people, too", () =>
    withTempDir(async (dir) => {
      const written = await writeDataDir(dir, { count: COUNT });
      const clean = await runCommand(["check", dir]);
      assert.match(
        clean.printed[0] ?? "",
        /^\d+ segments, 100 frames, up to \d+ \(synced to \d+\)$/,
      );
      assert.equal(clean.printed.at(-1), "clean");
      flipBit(written, written.messages[3] as number);
      const { printed, warned } = await runCommand(["check", dir]);
      assert.match(printed.at(-1) ?? "", /^damaged \d+ to \d+: /);
      assert.deepEqual(warned, [`tidegate: "${dir}" is damaged in 1 places`]);
    }));

  it("refuses a directory that a node has open", () =>
    withTempDir(async (dir) => {
      await writeDataDir(dir, { count: 1 });
      const held = holdDataDir(dir);
      const { exitCode, warned } = await runCommand(["check", dir]);
      held.release();
      assert.equal(exitCode, EXIT.unavailable.code);
      assert.match(warned.join(), /another process has it open/);
    }));

  it("says when there is no log, and leaves nothing behind", () =>
    withTempDir(async (dir) => {
      const empty = join(dir, "empty");
      mkdirSync(empty);
      const { exitCode, warned } = await runCommand(["check", empty]);
      assert.equal(exitCode, EXIT.noInput.code);
      assert.match(warned.join(), /no log is there/);
      assert.deepEqual(readdirSync(empty), []);
    }));
});

describe("tidegate check --repair", () => {
  /** The original after `spoil`, repaired into another directory. */
  async function repaired(
    spoil: (dir: string, written: Written) => void | Promise<void>,
    look: (about: {
      exitCode: number;
      findings: Findings & { repaired: Repaired };
      to: string;
      written: Written;
    }) => Promise<void> | void,
  ): Promise<void> {
    await withTempDir(async (top) => {
      const [dir, to] = [join(top, "data"), join(top, "copy")];
      const written = await writeDataDir(dir, { count: COUNT });
      await spoil(dir, written);
      const before = contentOf(dir);
      const { exitCode, printed } = await runCommand([
        "check",
        dir,
        "--repair",
        "--to",
        to,
        "--json",
      ]);
      assert.deepEqual(contentOf(dir), before, "the original was written");
      const findings = JSON.parse(printed[0] ?? "") as Findings & { repaired: Repaired };
      await look({ exitCode, findings, to, written });
    });
  }

  /** Which messages a store on the copy has, by their place; it writes there. */
  async function opened(to: string): Promise<{ store: OpenStore; rows: readonly UnitRow[] }> {
    const store = await OpenStore.on({ disk: openNodeDisk(to), segmentBytes: 4 * KiB });
    return { store, rows: await store.unitsOf(1, 0) };
  }

  it("copies what is whole, and a node opens it with the range told", () =>
    repaired(
      (_, written) => flipBit(written, (written.messages[40] as number) + 60),
      async ({ exitCode, findings, to, written }) => {
        assert.equal(exitCode, EXIT.ok.code);
        assert.equal(findings.repaired.frames, COUNT - 1);
        assert.equal(findings.repaired.end, written.end);
        const [from, end] = written.messages.slice(40) as [number, number];
        assert.deepEqual(
          findings.damaged.map((range) => [range.from, range.to]),
          [[from, end]],
        );
        const { store, rows } = await opened(to);
        assert.deepEqual(store.store.damage.ranges, [{ from, to: end }]);
        assert.deepEqual(
          rows.map(([offset, place]) => [offset, place]),
          written.messages.map((place, offset) => [offset, offset === 40 ? 0 : place]),
        );
        await store.putAll([draft({ queueOffset: COUNT })]);
        await store.store.close();
      },
    ));

  it("begins where the original does", () => {
    let dropped = { start: 0, frames: 0 };
    return repaired(
      async (dir, written) => {
        dropped = await dropSome(dir);
        flipBit(written, (written.messages.at(-1) as number) + 60);
      },
      async ({ findings, to, written }) => {
        const lost = written.messages.at(-1) as number;
        assert.deepEqual(
          findings.damaged.map(({ from }) => from),
          [lost],
        );
        const { store, rows } = await opened(to);
        assert.equal(store.store.log.start, dropped.start);
        assert.equal(rows.length, dropped.frames - 2);
        assert.deepEqual(
          store.store.damage.ranges.map(({ from }) => from),
          [lost],
        );
        await store.store.close();
      },
    );
  });

  it("mends headers, and leaves what is derived to the first start", () =>
    repaired(
      (dir, { segments }) => {
        flipByte(segments[1] as string, 9);
        for (const name of readdirSync(join(dir, "snapshots"))) {
          flipByte(join(dir, "snapshots", name), -1);
        }
      },
      async ({ to, written }) => {
        assert.deepEqual(readdirSync(to).toSorted(), ["checkpoint", "log"]);
        const { exitCode, printed } = await runCommand(["check", to, "--json"]);
        assert.equal(exitCode, EXIT.ok.code, printed.join());
        const { rows, store } = await opened(to);
        assert.deepEqual(
          rows.map(([, place]) => place),
          written.messages,
        );
        await store.store.close();
      },
    ));

  it("keeps every place when a segment is gone, or the end of the log", () =>
    repaired(
      (_, { segments }) => {
        unlinkSync(segments[1] as string);
        truncateSync(segments.at(-1) as string, SEGMENT_HEADER_SIZE);
      },
      async ({ exitCode, to, written }) => {
        assert.equal(exitCode, EXIT.ok.code);
        const { store } = await opened(to);
        assert(store.store.damage.ranges.length > 0);
        assert.equal(store.store.log.end, written.end, "no place is used again");
        await store.store.close();
      },
    ));

  it("is refused into the original, into a directory with content, and without --to", () =>
    withTempDir(async (top) => {
      const dir = join(top, "data");
      await writeDataDir(dir, { count: 3 });
      const before = contentOf(dir);
      for (const [args, exit] of [
        [["--repair", "--to", dir], EXIT.refused],
        [["--repair", "--to", join(dir, "copy")], EXIT.refused],
        [["--repair", "--to", top], EXIT.refused],
        [["--repair"], EXIT.usage],
        [["--to", join(top, "copy")], EXIT.usage],
      ] as const) {
        const { exitCode } = await runCommand(["check", dir, ...args]);
        assert.equal(exitCode, exit.code, args.join(" "));
      }
      assert.deepEqual(contentOf(dir), before);
    }));

  it("says what it made to people, too", () =>
    withTempDir(async (top) => {
      const [dir, to] = [join(top, "data"), join(top, "copy")];
      await writeDataDir(dir, { count: 3 });
      const { printed } = await runCommand(["check", dir, "--repair", "--to", to]);
      assert.match(printed.at(-1) ?? "", /^copied 1 segments, 3 frames, up to \d+, to /);
    }));
});
