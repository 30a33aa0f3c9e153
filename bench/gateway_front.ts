/**
 * A gateway in front of one broker, for `gateway.ts`: `bun bench/gateway_front.ts RPC_PORT`
 * prints its port. Its coordinator is in this very process and knows that one broker.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { openGatewayNode } from "../src/cli/gateway_node.ts";
import { Directory, EmbeddedCoordinator, foundingState } from "../src/cluster/mod.ts";
import { dialer } from "../src/rpc/dial_node.ts";
import { Peer } from "../src/rpc/mod.ts";
import { crc32 } from "../storage/base/checksum_node.ts";
import { systemClock as clock } from "../storage/base/clock_node.ts";
import { hmac } from "../storage/base/hmac_node.ts";
import { SECRET } from "./rpc_calls.ts";

const [port = 0] = process.argv.slice(2).map(Number);
const node = "server";
const member = { node, boot: "1", disk: "1" };
const coordinator = new EmbeddedCoordinator(clock);
const directory = new Directory(coordinator);
await directory.number("bench");
await directory.announce({ node, group: "bench", address: `127.0.0.1:${port}` });
coordinator.live("bench", member, { onLease() {} });
await coordinator.found("bench", { ...foundingState(member, 1), epoch: 1, leader: member });

const entropy = (size: number) => new Uint8Array(randomBytes(size));
const gateway = await openGatewayNode(
  {
    host: "127.0.0.1",
    port: 0,
    apiKeys: [],
    behindProxy: false,
    tlsCert: "",
    tlsKey: "",
    corsOrigins: [],
    waitersMax: 10_000,
    logLevel: "error",
    autoCreate: true,
    delayMax: 86_400_000,
    webhookAllowPrivate: false,
  },
  {
    log() {},
    coordinator,
    name: "bench",
    connect: () =>
      new Peer(
        { clock, crc32, hmac, entropy, dial: dialer({ host: "127.0.0.1", port }) },
        {
          self: { cluster: "bench", node: "gateway", secret: SECRET },
          expects: { node, authenticated: false },
        },
      ),
  },
);
console.log(`ready on ${/:(\d+) /.exec(gateway.readyLine)?.[1]}`);
