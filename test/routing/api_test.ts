/**
 * The contract of `BrokerApi` over a cluster: one broker group, where it is kept to the
 * letter, and three, where order between broker groups and what needs more than one of
 * them at once are other.
 *
 * @module
 */

import { testBrokerApi } from "../suites/broker_api.ts";
import type { OpenOptions, Opened } from "../suites/broker_api_kit.ts";
import { LocalCluster } from "../fakes/local_cluster.ts";

async function open(groups: number, options: OpenOptions): Promise<Opened> {
  const cluster = await LocalCluster.open({ ...options, groups });
  return {
    api: cluster.gateway(),
    clock: cluster.clock,
    drain: () => cluster.drain(),
    close: () => cluster.close(),
  };
}

testBrokerApi("over one broker group", (options) => open(1, options));

testBrokerApi("over three broker groups", (options) => open(3, options));
