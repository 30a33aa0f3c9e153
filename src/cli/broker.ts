/**
 * The broker of a data directory, on the real disk and clock, and what its
 * start has to say about the log it found.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { TidegateError } from "../../storage/base/errors.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { digest } from "../../storage/base/digest_node.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import { workerJobs } from "../../storage/jobs_node.ts";
import type { Jobs } from "../../storage/mod.ts";
import { type Broker, type BrokerOptions, type BrokerPorts, openBroker } from "../broker/mod.ts";
import { openCheckCaller } from "../webhook/caller_node.ts";
import { checkUrlFault, secretFault } from "../webhook/mod.ts";
import type { Config } from "../config.ts";
import type { DataDir } from "./data_dir.ts";
import { CliError } from "./exit.ts";
import { requireOwnLog } from "./member_dir.ts";

export interface BrokerParts {
  readonly config: Pick<
    Config,
    | "segmentBytes"
    | "autoCreate"
    | "delayMax"
    | "retentionMax"
    | "waitersMax"
    | "idempotencyWindow"
    | "webhookAllowPrivate"
    | "scrubInterval"
    | "diskHigh"
    | "diskFull"
    | "diskReserve"
  >;
  readonly log: Log;
  /** The log's disk failed: must not return. */
  readonly fatal: (error: unknown) => never;
}

/**
 * Opens the broker; it owns the data directory from here on and releases it
 * when it is closed, or could not be opened.
 *
 * @throws {CliError} `io` when the directory cannot be read, `config` when it is that of a
 * member of a broker group.
 */
export async function openBrokerIn(dataDir: DataDir, parts: BrokerParts): Promise<Broker> {
  const jobs = workerJobs(dataDir.path);
  const ports = brokerPorts(dataDir, { ...parts, jobs });
  const release = async () => {
    await jobs.close();
    dataDir.release();
  };
  try {
    await requireOwnLog(ports.disk, { path: dataDir.path, verb: "serve" });
    const options = { ...brokerOptions(parts.config), nodeId: hostname() };
    const broker = await openBroker(ports, options);
    tellRecovery(broker, parts.log);
    const close = async () => {
      try {
        await broker.close();
      } finally {
        await release();
      }
    };
    return { ...broker, close };
  } catch (error) {
    await release();
    throw cannotOpen(dataDir, error);
  }
}

/** What a broker over the directory asks of the world. */
export function brokerPorts(
  { path }: DataDir,
  { config, log, fatal, jobs }: BrokerParts & { readonly jobs: Jobs },
): BrokerPorts {
  return {
    disk: openNodeDisk(path),
    clock: systemClock,
    crc32,
    digest,
    jobs,
    entropy: (size: number) => new Uint8Array(randomBytes(size)),
    log,
    checks: checksPort({ allowPrivate: config.webhookAllowPrivate }),
    fatal: (error: Error) => fatal(error),
  };
}

export function brokerOptions(config: BrokerParts["config"]): Omit<BrokerOptions, "nodeId"> {
  const { segmentBytes, autoCreate, delayMax, retentionMax, waitersMax, idempotencyWindow } =
    config;
  return {
    segmentBytes,
    autoCreate,
    delayMaxMs: delayMax,
    retentionMaxMs: retentionMax,
    waitersMax,
    idempotencyWindowMs: idempotencyWindow,
    scrubIntervalMs: config.scrubInterval,
    headroom: headroomOptions(config),
  };
}

function headroomOptions({ diskHigh, diskFull, diskReserve }: BrokerParts["config"]) {
  return { highPercent: diskHigh, fullPercent: diskFull, ballastBytes: diskReserve };
}

/** Transactions are asked about over HTTP. */
function checksPort({ allowPrivate }: { readonly allowPrivate: boolean }) {
  return {
    caller: openCheckCaller({ allowPrivate, clock: systemClock }),
    urlFault: (url: string) => checkUrlFault(url, { allowPrivate }),
    secretFault,
  };
}

function tellRecovery({ recovery, api }: Broker, log: Log): void {
  const { frames, torn, damagedHeaders } = recovery;
  const { epoch, durableEnd } = api.status();
  log("info", "Log opened", { epoch, durableEnd, framesWalked: frames });
  if (torn) log("warn", "A torn tail was cut: nobody had been promised it", torn);
  for (const base of damagedHeaders) log("error", "The header of a segment is damaged", { base });
}

export function cannotOpen({ path }: DataDir, error: unknown): Error {
  if (error instanceof TidegateError || !(error instanceof Error) || !("code" in error)) {
    return error as Error; // Said well enough already, or a defect.
  }
  const message = `Cannot open the log in "${path}": ${error.message}`;
  return new CliError("io", message, error);
}
