/**
 * A member of a broker group, put together: data directory, coordinator, RPC, and the
 * lives that the node leads over them.
 *
 * @module
 */

import { systemClock } from "../../storage/base/clock_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import { BrokerNode } from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import { RpcServer } from "../rpc/mod.ts";
import { type Accepts, listen, type Listener } from "../rpc/listen_node.ts";
import manifest from "../../package.json" with { type: "json" };
import { Admin } from "./admin.ts";
import { Acquaintance, addressOf, openCoordinator, RPC_PORTS } from "./cluster.ts";
import { holdDataDir } from "./data_dir.ts";
import { CliError } from "./exit.ts";
import { NodeLogs } from "./node_logs.ts";
import { replicationMetrics } from "./replication_metrics.ts";

export interface RunningBrokerNode {
  /** What `broker` prints when other nodes are answered. */
  readonly readyLine: string;
  /** Hands over, leaves and closes: within ten seconds. */
  stop(): Promise<void>;
}

export interface BrokerNodePorts {
  readonly log: Log;
  /** The log's disk failed: must not return. */
  readonly fatal: (error: unknown) => never;
}

/** For calls that are still being answered once the node has left its group. */
const FAREWELL_MS = 1000;

/** @throws {CliError} when the directory or an address cannot be had. */
export async function openBrokerNode(
  config: Config,
  ports: BrokerNodePorts,
): Promise<RunningBrokerNode> {
  const { log, fatal } = ports;
  const acquaintance = new Acquaintance(config, { node: config.node, log });
  const dataDir = holdDataDir(config.dataDir);
  const logs = new NodeLogs(dataDir, { config, ...ports });
  const coordinator = openCoordinator(config);
  const node = new BrokerNode(
    {
      clock: systemClock,
      coordinator,
      journal: log,
      entropy: RPC_PORTS.entropy,
      openLog: (number) => logs.open(number),
      setLogAside: () => logs.setAside(),
      connect: (entry) => acquaintance.peer(entry),
      fatal,
    },
    config,
  );
  const server = new RpcServer(
    { ...RPC_PORTS, log },
    { self: acquaintance.self, services: node.services },
  );
  const admin = new Admin(node, { config, log, metrics: () => replicationMetrics(node) });
  const close = async () => {
    server.close();
    await admin.close();
    await coordinator.close();
    await logs.close();
  };
  try {
    const listener = await listenOn(config, { server, acquaintance });
    const address = config.advertise || addressOf(config.rpcHost, listener.port);
    const where = await admin.open();
    await node.start(address);
    return {
      readyLine: readyLine(config, { address, where }),
      async stop() {
        await node.drain();
        listener.close();
        await Promise.race([server.drain(), pause(FAREWELL_MS)]);
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function listenOn(
  { rpcHost: host, rpcPort: port }: Config,
  { server, acquaintance }: { readonly server: RpcServer; readonly acquaintance: Acquaintance },
): Promise<Listener> {
  const { tls, trustsAnybody } = acquaintance;
  const accepts: Accepts = {
    turnedAway: (from, reason) => server.turnedAway(from, reason),
    accept: (carrier, { authenticated, from }) =>
      server.accept(carrier, { authenticated: authenticated || trustsAnybody, from }),
  };
  try {
    return await listen(accepts, { host, port, tls });
  } catch (error) {
    const detail = `Cannot listen on ${addressOf(host, port)}: ${(error as Error).message}`;
    throw new CliError("unavailable", detail, error);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void systemClock.after(ms, resolve));
}

function readyLine(
  { node, group, cluster, dataDir }: Config,
  { address, where }: { readonly address: string; readonly where: string | undefined },
): string {
  const admin = where === undefined ? "" : `, admin on ${where}`;
  const what = `broker "${node}" of group "${group}" in cluster "${cluster}"`;
  return `tidegate ${manifest.version} ${what} ready on ${address} (data in ${dataDir}${admin})`;
}
