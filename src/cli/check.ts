/**
 * `tidegate check`: is every byte of a data directory what was written?
 *
 * @module
 */

import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import type { Command } from "commander";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { LOG_DIR } from "../../storage/segment.ts";
import { holdDataDir } from "./data_dir.ts";
import { CliError } from "./exit.ts";
import { requireWholeLog } from "./member_dir.ts";
import { type Repaired, repairInto } from "./repair.ts";
import type { Terminal } from "./terminal.ts";
import { type Findings, verifyDataDir } from "./verify.ts";

const ABOUT = `
Reads all of the log and changes nothing. No node may have the directory open.
Exit code 0: clean; 1: damaged; what a start mends by itself is only noted.

With --repair a copy is made in the directory that --to names, which must be
empty or absent: all that is whole, in its place. The original stays as it is.
What is listed as damaged is what the copy does not have. Exit code 0: made.`;

export function checkCommand(parent: Command, terminal: Terminal): void {
  parent
    .command("check <data-dir>")
    .description("verify a data directory, byte by byte")
    .option("--json", "the findings as one JSON object")
    .option("--repair", "make a copy without what is damaged; needs --to")
    .option("--to <dir>", "where to make the copy")
    .addHelpText("after", ABOUT)
    .action(async (path: string, options: Options) => {
      const to = targetOf(path, options);
      const { findings, repaired } = await verify(path, to);
      if (options.json)
        terminal.print(JSON.stringify({ ...findings, ...(repaired && { repaired }) }));
      else printFindings(findings, terminal);
      if (repaired && !options.json) printRepaired(repaired, { to, terminal });
      if (findings.damaged.length === 0 || repaired) return;
      throw new CliError("negative", `"${path}" is damaged in ${findings.damaged.length} places`);
    });
}

interface Options {
  readonly json?: boolean;
  readonly repair?: boolean;
  readonly to?: string;
}

/** @throws {CliError} `usage` when it is not said where to, `refused` when something is there. */
function targetOf(path: string, { repair, to }: Options): string | undefined {
  if (!repair && to === undefined) return undefined;
  if (!repair || to === undefined) {
    throw new CliError("usage", "Cannot repair: --repair and --to <dir> go together");
  }
  const [source, target] = [resolve(path), resolve(to)];
  if (target === source || target.startsWith(source + sep)) {
    throw new CliError("refused", `Cannot repair into "${to}": the original is never written`);
  }
  if (existsSync(target) && readdirSync(target).length > 0) {
    throw new CliError("refused", `Cannot repair into "${to}": something is there`);
  }
  return target;
}

async function verify(
  path: string,
  to: string | undefined,
): Promise<{ findings: Findings; repaired?: Repaired }> {
  if (!existsSync(join(path, LOG_DIR))) {
    throw new CliError("noInput", `Cannot check "${path}": no log is there`);
  }
  const dataDir = holdDataDir(path);
  try {
    const disk = openNodeDisk(path);
    await requireWholeLog(disk, { path, verb: "check" });
    const findings = await verifyDataDir(disk);
    if (to === undefined) return { findings };
    mkdirSync(to, { recursive: true });
    return { findings, repaired: await repairInto(disk, openNodeDisk(to), findings) };
  } catch (error) {
    if (error instanceof TidegateError || error instanceof CliError) throw error;
    throw new CliError("io", `Cannot check "${path}": ${(error as Error).message}`, error);
  } finally {
    dataDir.release();
  }
}

function printRepaired(
  { segments, frames, end }: Repaired,
  { to, terminal }: { to: string | undefined; terminal: Terminal },
): void {
  terminal.print(`copied ${segments} segments, ${frames} frames, up to ${end}, to ${to}`);
}

function printFindings(findings: Findings, terminal: Terminal): void {
  const { segments, frames, end, durableEnd, damaged, notes } = findings;
  terminal.print(`${segments} segments, ${frames} frames, up to ${end} (synced to ${durableEnd})`);
  for (const note of notes) terminal.print(`note: ${note}`);
  for (const { from, to, reason } of damaged) terminal.print(`damaged ${from} to ${to}: ${reason}`);
  if (damaged.length === 0) terminal.print("clean");
}
