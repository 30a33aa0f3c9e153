/** @module */

import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { withTempDir } from "../e2e/server.ts";
import { flipBit, flipByte, writeDataDir, type Written } from "../fakes/data_dir.ts";
import { runCommand } from "../fakes/terminal.ts";

function withLog(body: (written: Written, dir: string) => Promise<void>): Promise<void> {
  return withTempDir(async (dir) => body(await writeDataDir(dir, { count: 100 }), dir));
}

interface Line {
  readonly logOffset: number;
  readonly kind: string;
  readonly record: string;
}
const linesOf = (printed: readonly string[]) => printed.map((line) => JSON.parse(line) as Line);

describe("tidegate inspect", () => {
  it("prints every frame of every segment, in order", () =>
    withLog(async ({ segments, messages }) => {
      const lines: Line[] = [];
      for (const path of segments) {
        const { exitCode, printed } = await runCommand(["inspect", path, "--json"]);
        assert.equal(exitCode, EXIT.ok.code);
        lines.push(...linesOf(printed));
      }
      assert.deepEqual(
        lines.map(({ logOffset, kind }) => [logOffset, kind]),
        messages.map((logOffset) => [logOffset, "message"]),
      );
      const { record, ...header } = lines[7] as Line;
      assert.match(record, /queueOffset=7 .*id="1-0-7"/);
      const fields = "logOffset size kind flags epoch storedAt confirmOffset crc prevCrc";
      assert.deepEqual(Object.keys(header), fields.split(" "));
    }));

  it("prints a line a frame for people", () =>
    withLog(async ({ segments }) => {
      const { printed } = await runCommand(["inspect", segments[0] as string]);
      assert.match(
        printed[0] ?? "",
        /^ +0 +\d+  message +\d+  \d{4}-\d\d-\d\dT[\d:.]+Z  -  .*id="1-0-0"/,
      );
    }));

  it("tells of bytes that are no frame, goes on behind them, and ends with 1", () =>
    withLog(async (written) => {
      const [, bad, behind] = written.messages;
      flipBit(written, (bad as number) + 50);
      const { exitCode, printed, warned } = await runCommand([
        "inspect",
        written.segments[0] as string,
        "--json",
      ]);
      assert.equal(exitCode, EXIT.negative.code);
      assert.deepEqual(
        linesOf(printed)
          .slice(0, 2)
          .map(({ logOffset }) => logOffset),
        [0, behind],
      );
      assert.match(warned[0] ?? "", new RegExp(`^${bad}  bytes up to ${behind} are no frames: `));
    }));

  it("reads a segment whose header is damaged by its name", () =>
    withLog(async ({ segments, messages }) => {
      const path = segments[1] as string;
      flipByte(path, 20);
      const { printed } = await runCommand(["inspect", path, "--json"]);
      assert(messages.includes(linesOf(printed)[0]?.logOffset ?? -1));
    }));

  it("reads a segment whatever it is named by its header", () =>
    withLog(async ({ segments, messages }, dir) => {
      const path = join(dir, "copy");
      renameSync(segments[1] as string, path);
      const { printed } = await runCommand(["inspect", path, "--json"]);
      assert(messages.includes(linesOf(printed)[0]?.logOffset ?? -1));
    }));

  it("refuses what is no segment, and what is not there", () =>
    withTempDir(async (dir) => {
      const path = join(dir, "notes.txt");
      writeFileSync(path, "not a segment");
      const other = await runCommand(["inspect", path]);
      assert.deepEqual([other.exitCode, other.printed], [EXIT.refused.code, []]);
      const missing = await runCommand(["inspect", join(dir, "missing")]);
      assert.equal(missing.exitCode, EXIT.noInput.code);
    }));
});
