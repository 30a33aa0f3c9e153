/**
 * What is said of a data directory that is, or was, that of a member of a broker group,
 * where somebody would take its log for a whole one of a node alone.
 *
 *   `identity`    a member's: what lies at the end of its log may be no part of its group's,
 *                 and a node alone would confirm it
 *   `replacing`   its log gives way to its leader's: what lies there is neither
 *
 * Only `tidegate broker` opens those. It ends what was begun, or begins it anew, by what
 * others have; nobody else can.
 *
 * @module
 */

import { join } from "node:path";
import type { Disk } from "../../storage/base/disk.ts";
import { IDENTITY_PATH } from "../../storage/identity.ts";
import { isReplacing } from "../../storage/replaced_log.ts";
import { CliError, type ExitName } from "./exit.ts";

interface Wish {
  readonly path: string;
  /** What cannot be done. */
  readonly verb: string;
}

/** @throws {CliError} `unavailable` when the log there is neither the old one nor the new one. */
export async function requireWholeLog(disk: Disk, wish: Wish): Promise<void> {
  if (await isReplacing(disk)) throw givingWay(wish, "unavailable");
}

/** @throws {CliError} `config` when the directory is a member's of a broker group. */
export async function requireOwnLog(disk: Disk, wish: Wish): Promise<void> {
  if (await isReplacing(disk)) throw givingWay(wish, "config");
  if (!(await disk.list("")).includes(IDENTITY_PATH)) return;
  const message =
    `Cannot ${wish.verb} "${wish.path}": it is that of a member of a broker group, which "tidegate broker" runs. ` +
    `To go on alone with what it has, serve a copy: "tidegate backup", then "tidegate restore"`;
  throw new CliError("config", message);
}

function givingWay({ path, verb }: Wish, exit: ExitName): CliError {
  const message =
    `Cannot ${verb} "${path}": its log is giving way to that of its broker group, and what lies there is neither. ` +
    `"tidegate broker" goes on with that; what the node had before is kept in "${join(path, "set-aside")}"`;
  return new CliError(exit, message);
}
