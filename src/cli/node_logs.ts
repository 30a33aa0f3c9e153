/**
 * The logs of a member of a broker group: the one in its data directory, opened anew for
 * each life, and the one that was set aside because it is no use any more.
 *
 * @module
 */

import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { workerJobs } from "../../storage/jobs_node.ts";
import { openStandby } from "../broker/mod.ts";
import type { NodeLog } from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import { type BrokerParts, brokerOptions, brokerPorts, cannotOpen } from "./broker.ts";
import type { DataDir } from "./data_dir.ts";

const ASIDE = "set-aside";
/** It stays where it is: a lock of this process, and what it set aside before. */
const STAYS = new Set(["LOCK", ASIDE]);
/** The disk's name goes first: what is left behind a stop half-way counts for nothing. */
const IDENTITY = "identity";

export class NodeLogs {
  readonly #dataDir: DataDir;
  readonly #parts: BrokerParts & { readonly config: Config };
  readonly #jobs;

  constructor(dataDir: DataDir, parts: BrokerParts & { readonly config: Config }) {
    this.#dataDir = dataDir;
    this.#parts = parts;
    this.#jobs = workerJobs(dataDir.path);
  }

  /** @param number the broker group's. */
  async open(number: number): Promise<NodeLog> {
    const { config } = this.#parts;
    const ports = brokerPorts(this.#dataDir, { ...this.#parts, jobs: this.#jobs });
    const options = {
      ...brokerOptions(config),
      nodeId: config.node,
      brokerGroup: number,
      autoCreate: false, // topics are the coordinator's to make
    };
    try {
      return await openStandby(ports, options);
    } catch (error) {
      throw cannotOpen(this.#dataDir, error);
    }
  }

  /** The next life begins with nothing; of logs set aside the last one is kept. */
  async setAside(): Promise<void> {
    const { path } = this.#dataDir;
    const aside = join(path, ASIDE);
    rmSync(aside, { recursive: true, force: true });
    mkdirSync(aside);
    const names = readdirSync(path).filter((name) => !STAYS.has(name));
    const ordered = names.toSorted((a, b) => Number(b === IDENTITY) - Number(a === IDENTITY));
    const disk = openNodeDisk(path);
    for (const name of ordered) {
      renameSync(join(path, name), join(aside, name));
      if (name === IDENTITY) await disk.syncDir("");
    }
    await disk.syncDir("");
  }

  async close(): Promise<void> {
    await this.#jobs.close();
    this.#dataDir.release();
  }
}
