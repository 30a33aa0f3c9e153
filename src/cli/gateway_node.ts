/**
 * A gateway of a cluster, put together: who leads, the router over them, and what faces
 * clients. It keeps nothing: all that it remembers it can learn again.
 *
 * @module
 */

import manifest from "../../package.json" with { type: "json" };
import { systemClock } from "../../storage/base/clock_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import { gauge } from "../../storage/base/metrics.ts";
import type { Coordinator } from "../cluster/mod.ts";
import { Directory } from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import { RoutedBroker } from "../routing/mod.ts";
import { checkUrlFault, secretFault } from "../webhook/mod.ts";
import { checkCertificate, type Front, type FrontConfig, openFront } from "./front.ts";
import type { RunningNode } from "./node.ts";
import { ClusterRouting, type RoutingPorts } from "./routing.ts";

export interface GatewayNodePorts {
  readonly log: Log;
  readonly coordinator: Coordinator;
  readonly connect: RoutingPorts["connect"];
  /** The name it has for people. */
  readonly name: string;
}

export type GatewayConfig = FrontConfig &
  Pick<Config, "autoCreate" | "delayMax" | "webhookAllowPrivate">;

/** Brokers are looked for again after so long, until the coordinator answers for the first time. */
const FIRST_LOOK_MS = 1000;

/** @throws {CliError} when the address cannot be had. */
export async function openGatewayNode(
  config: GatewayConfig,
  ports: GatewayNodePorts,
): Promise<RunningNode> {
  checkCertificate(config);
  const { log, coordinator, connect, name } = ports;
  const report = (error: Error) =>
    log("warn", "Cannot learn who leads: what is known is used", { error: error.message });
  const directory = new Directory(coordinator);
  const routing = new ClusterRouting({ directory, clock: systemClock, connect, report });
  const broker = openRouted(config, { ...ports, routing });
  await routing.start(FIRST_LOOK_MS);
  let front: Front | undefined;
  const close = async () => {
    front?.close();
    broker.close();
    routing.close();
    await coordinator.close();
  };
  try {
    front = await openFront(config, {
      broker,
      metrics: () => Promise.resolve(metricsOf(routing)),
      log,
    });
    const { gateway, server, url } = front;
    const readyLine = `tidegate ${manifest.version} gateway "${name}" ready on ${url} (${server.adapter})`;
    return { broker: { drain: () => broker.drain(), close }, gateway, server, readyLine };
  } catch (error) {
    await close();
    throw error;
  }
}

function openRouted(
  { autoCreate, delayMax, webhookAllowPrivate: allowPrivate }: GatewayConfig,
  { log, coordinator, name, routing }: GatewayNodePorts & { readonly routing: ClusterRouting },
): RoutedBroker {
  const checks = { urlFault: (url: string) => checkUrlFault(url, { allowPrivate }), secretFault };
  return new RoutedBroker(
    {
      routing,
      definitions: coordinator,
      clock: systemClock,
      checks,
      report: (error) => log("error", "A background job failed", { error: error.message }),
    },
    { nodeId: name, autoCreate, delayMaxMs: delayMax },
  );
}

function metricsOf(routing: ClusterRouting) {
  const { groups } = routing.status();
  return [
    gauge({
      name: "tidegate_broker_group_reachable",
      help: "Whether the broker group has a leader, as far as this gateway knows",
      samples: groups.map(({ id, leader }) => {
        return { labels: { group: id }, value: leader === undefined ? 0 : 1 };
      }),
    }),
  ];
}
