/**
 * The library that answers in place of the kernel when a process asks for the time
 * of day, and leaves alone what measures time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The library beside the program of the same package. */
export function faketimeLibrary(): string {
  const folders = readdirSync("/usr/lib").map((name) => `/usr/lib/${name}`);
  const found = ["/usr/lib", ...folders]
    .map((folder) => join(folder, "faketime", "libfaketime.so.1"))
    .find((path) => existsSync(path));
  assert(found, "libfaketime is where Debian puts it");
  return found;
}
