/**
 * `tidegate check`: is every byte of a data directory what was written?
 *
 * @module
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { LOG_DIR } from "../../storage/segment.ts";
import { holdDataDir } from "./data_dir.ts";
import { CliError } from "./exit.ts";
import type { Terminal } from "./terminal.ts";
import { type Findings, verifyDataDir } from "./verify.ts";

const ABOUT = `
Reads all of the log and changes nothing. No node may have the directory open.
Exit code 0: clean; 1: damaged; what a start mends by itself is only noted.`;

export function checkCommand(parent: Command, terminal: Terminal): void {
  parent
    .command("check <data-dir>")
    .description("verify a data directory, byte by byte")
    .option("--json", "the findings as one JSON object")
    .addHelpText("after", ABOUT)
    .action(async (path: string, options: { json?: boolean }) => {
      const findings = await verify(path);
      if (options.json) terminal.print(JSON.stringify(findings));
      else printFindings(findings, terminal);
      if (findings.damaged.length === 0) return;
      throw new CliError("negative", `"${path}" is damaged in ${findings.damaged.length} places`);
    });
}

async function verify(path: string): Promise<Findings> {
  if (!existsSync(join(path, LOG_DIR))) {
    throw new CliError("noInput", `Cannot check "${path}": no log is there`);
  }
  const dataDir = holdDataDir(path);
  try {
    return await verifyDataDir(openNodeDisk(path));
  } catch (error) {
    if (error instanceof TidegateError) throw error;
    throw new CliError("io", `Cannot check "${path}": ${(error as Error).message}`, error);
  } finally {
    dataDir.release();
  }
}

function printFindings(findings: Findings, terminal: Terminal): void {
  const { segments, frames, end, durableEnd, damaged, notes } = findings;
  terminal.print(`${segments} segments, ${frames} frames, up to ${end} (synced to ${durableEnd})`);
  for (const note of notes) terminal.print(`note: ${note}`);
  for (const { from, to, reason } of damaged) terminal.print(`damaged ${from} to ${to}: ${reason}`);
  if (damaged.length === 0) terminal.print("clean");
}
