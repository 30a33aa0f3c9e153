/**
 * The last line of a run, which people and scripts look for, and the exit code
 * that goes with it.
 *
 * @module
 */

import process from "node:process";

/** Prints `N passed, N failed`; nothing passed is a failure, too. */
export function conclude({ passed, failed, skipped = 0 }) {
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
}
