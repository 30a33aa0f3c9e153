/**
 * A real broker for tests: the real store on a disk in memory that can lose
 * power, on a clock that moves when told to, with seeded chance.
 *
 * @module
 */

import { crc32 } from "../../storage/base/checksum_node.ts";
import { digest } from "../../storage/base/digest_node.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { Prng } from "../../storage/base/prng.ts";
import {
  type Broker,
  type BrokerOptions,
  openBroker,
  openStandby,
  type Standby,
} from "../../src/broker/mod.ts";
import type { ReplicaLog } from "../../src/cluster/replica_log.ts";
import type { ChecksPort } from "../../src/broker/ports.ts";
import { inlineJobs } from "../../storage/mod.ts";
import { testUrlFault } from "../fakes/transactions.ts";

export interface TestBroker extends Broker {
  readonly disk: MemoryDisk;
  readonly clock: ManualClock;
  /** Ends this one and opens another on what `disk` holds: by default, what a kill leaves. */
  reopen(disk?: MemoryDisk): Promise<TestBroker>;
}

export interface TestOptions extends Partial<BrokerOptions> {
  readonly disk?: MemoryDisk;
  readonly clock?: ManualClock;
  readonly chance?: Prng;
  /** By default one whose calls are never answered. */
  readonly checks?: ChecksPort;
  /** By default the test fails. */
  readonly fatal?: (error: Error) => void;
}

const SILENT: ChecksPort = {
  caller: { call: () => new Promise(() => {}) },
  urlFault: testUrlFault,
  secretFault: () => undefined,
};

export async function openTestBroker(options: TestOptions = {}): Promise<TestBroker> {
  const { ports, disk, clock, chance } = portsOf(options);
  const broker = await openBroker(ports, { ...DEFAULTS, ...options });
  const reopen = (on = disk.clone()) => openTestBroker({ ...options, disk: on, clock, chance });
  return { ...broker, disk, clock, reopen };
}

/** As a member of a group that has no other: what is synced is confirmed, by way of whoever drives it. */
export async function openLedBroker(options: TestOptions = {}): Promise<TestBroker> {
  const { standby, disk, clock, chance } = await openTestStandby(options);
  const log: ReplicaLog = standby;
  log.listen({
    appended() {},
    synced(end) {
      log.replicated(end);
      log.confirm(end);
    },
    trimmed() {},
    damaged() {},
  });
  const { epochs, end } = standby.restored;
  const broker = await standby.lead((epochs.at(-1)?.epoch ?? 0) + 1);
  while (standby.confirmOffset <= end) await Promise.resolve();
  const reopen = (on = disk.clone()) => openLedBroker({ ...options, disk: on, clock, chance });
  return { ...broker, disk, clock, reopen };
}

export interface TestStandby {
  readonly standby: Standby;
  readonly disk: MemoryDisk;
  readonly clock: ManualClock;
  readonly chance: Prng;
}

export async function openTestStandby(options: TestOptions = {}): Promise<TestStandby> {
  const { ports, ...parts } = portsOf(options);
  const standby = await openStandby(ports, { ...DEFAULTS, ...options });
  return { standby, ...parts };
}

const DEFAULTS: BrokerOptions = {
  nodeId: "test",
  segmentBytes: 64 * 1024,
  autoCreate: true,
  delayMaxMs: 40 * 86_400_000,
  retentionMaxMs: 7 * 86_400_000,
  waitersMax: 100,
  idempotencyWindowMs: 24 * 60 * 60 * 1000,
};

function portsOf(options: TestOptions) {
  const { checks = SILENT } = options;
  const { disk = new MemoryDisk(), clock = new ManualClock(), chance = new Prng(7) } = options;
  const fail = (error: Error) => {
    throw error;
  };
  const ports = {
    disk,
    clock,
    crc32,
    jobs: inlineJobs({ disk, crc32 }),
    digest,
    checks,
    entropy: (size: number) => Uint8Array.from({ length: size }, () => chance.below(256)),
    fatal: options.fatal ?? fail,
    log() {},
  };
  return { ports, disk, clock, chance };
}
