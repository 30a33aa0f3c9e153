/**
 * One node, put together: data directory, broker, and what faces clients.
 *
 * @module
 */

import manifest from "../../package.json" with { type: "json" };
import type { Log } from "../../storage/base/logger.ts";
import type { Config } from "../config.ts";
import { openBrokerIn } from "./broker.ts";
import { holdDataDir } from "./data_dir.ts";
import type { Draining } from "./drain.ts";
import { checkCertificate, openFront } from "./front.ts";

export interface RunningNode extends Draining {
  /** What `serve` prints when requests are answered. */
  readonly readyLine: string;
}

export interface NodePorts {
  readonly log: Log;
  /** The log's disk failed: must not return. */
  readonly fatal: (error: unknown) => never;
}

/**
 * Opens the data directory and serves.
 *
 * @throws {CliError} when the directory or the address cannot be had.
 */
export async function openNode(config: Config, ports: NodePorts): Promise<RunningNode> {
  checkCertificate(config);
  const broker = await openBrokerIn(holdDataDir(config.dataDir), { config, ...ports });
  const { dataDir } = config;
  const { log } = ports;
  try {
    const parts = { broker: broker.api, metrics: broker.metrics, dataDir, log };
    const { gateway, server, url, close: closeFront } = await openFront(config, parts);
    const readyLine = `tidegate ${manifest.version} ready on ${url} (${server.adapter}, data in ${dataDir})`;
    const close = async () => {
      closeFront();
      await broker.close();
    };
    return { broker: { drain: () => broker.drain(), close }, gateway, server, readyLine };
  } catch (error) {
    await broker.close();
    throw error;
  }
}
