/**
 * The logs of a member of a broker group: the one in its data directory, opened anew for
 * each life, and the one that was set aside because it is no use any more.
 *
 * @module
 */

import { crc32 } from "../../storage/base/checksum_node.ts";
import { openNodeDisk } from "../../storage/base/disk_node.ts";
import { workerJobs } from "../../storage/jobs_node.ts";
import { ReplacedLog } from "../../storage/mod.ts";
import { openStandby } from "../broker/mod.ts";
import type { LogReplacement, NodeLog } from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import { type BrokerParts, brokerOptions, brokerPorts, cannotOpen } from "./broker.ts";
import type { DataDir } from "./data_dir.ts";

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

  /** Sets aside what is there. No log of it is open. */
  replace(): Promise<LogReplacement> {
    return ReplacedLog.begin({ disk: openNodeDisk(this.#dataDir.path), crc32 });
  }

  async close(): Promise<void> {
    await this.#jobs.close();
    this.#dataDir.release();
  }
}
