/**
 * The contract of `BrokerApi` over RPC, through a pipe in memory: the real broker,
 * all of the protocol, and a clock that moves when told to.
 *
 * @module
 */

import { RemoteBroker, serveBroker } from "../../src/rpc/mod.ts";
import { testBrokerApi } from "../suites/broker_api.ts";
import type { OpenOptions, Opened } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { isOnDeno, isWhole } from "../effort.ts";
import { World } from "./kit.ts";

async function open(options: OpenOptions, world: World): Promise<Opened> {
  const broker = await openTestBroker({ ...options, clock: world.clock });
  serveBroker(world.services, broker);
  return {
    api: new RemoteBroker(world.peer),
    clock: world.clock,
    drain: broker.drain,
    async close() {
      world.peer.close();
      world.server.close();
      await broker.close();
    },
  };
}

/** The suite lets days pass in an instant, in which no ping is answered. */
const LEAPS = { pingMs: 1e12 };

if (isOnDeno) {
  testBrokerApi("over RPC", (options) => open(options, new World({ limits: LEAPS })));
}

if (isWhole) {
  testBrokerApi("over RPC, in small chunks", (options) =>
    open(options, new World({ limits: LEAPS, pipe: { chunkBytes: 997 } })),
  );
}
