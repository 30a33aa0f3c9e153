/**
 * A broker in this process, on the real disk: what is measured or filled without HTTP.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { type Broker, openBroker } from "../src/broker/mod.ts";
import { crc32 } from "../storage/base/checksum_node.ts";
import { systemClock } from "../storage/base/clock_node.ts";
import { digest } from "../storage/base/digest_node.ts";
import type { Disk } from "../storage/base/disk.ts";
import { openNodeDisk } from "../storage/base/disk_node.ts";
import { workerJobs } from "../storage/jobs_node.ts";

export const SEGMENT_BYTES = 64 * 1024 * 1024;
const DAY_MS = 86_400_000;

export function openLocalBroker(
  dataDir: string,
  options: {
    readonly segmentBytes?: number;
    readonly scrubIntervalMs?: number;
    /** Its number in a cluster. */
    readonly brokerGroup?: number;
    /** In the place of the real one of `dataDir`. */
    readonly disk?: Disk;
  } = {},
): Promise<Broker> {
  const { disk = openNodeDisk(dataDir), ...rest } = options;
  return openBroker(
    {
      disk,
      clock: systemClock,
      crc32,
      digest,
      entropy: (size) => new Uint8Array(randomBytes(size)),
      jobs: workerJobs(dataDir),
      log() {},
      checks: {
        caller: { call: () => new Promise(() => {}) },
        urlFault: () => undefined,
        secretFault: () => undefined,
      },
      fatal(error) {
        throw error;
      },
    },
    {
      nodeId: "bench",
      segmentBytes: SEGMENT_BYTES,
      autoCreate: true,
      delayMaxMs: DAY_MS,
      retentionMaxMs: Infinity,
      waitersMax: 1000,
      idempotencyWindowMs: DAY_MS,
      ...rest,
    },
  );
}
