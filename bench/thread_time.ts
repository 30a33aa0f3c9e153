/**
 * For how long this thread has run: what is measured by it is not longer because others
 * had the processor. Where the runtime does not tell, the time that went by.
 *
 * @module
 */

import process from "node:process";

/** Milliseconds. */
export function threadTime(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage };
  if (!threadCpuUsage) return performance.now();
  const { user, system } = threadCpuUsage.call(process);
  return (user + system) / 1000;
}
