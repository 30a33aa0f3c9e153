/**
 * A broker behind RPC, for `rpc.ts` and `gateway.ts`: `bun bench/rpc_server.ts DATA_DIR
 * [NUMBER]` prints its port, and ends with its standard input or by a signal.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { listen } from "../src/rpc/listen_node.ts";
import { RpcServer, serveBroker, Services } from "../src/rpc/mod.ts";
import { crc32 } from "../storage/base/checksum_node.ts";
import { systemClock } from "../storage/base/clock_node.ts";
import { hmac } from "../storage/base/hmac_node.ts";
import { openLocalBroker } from "./local_broker.ts";
import { BODY, DIRECT, measure, SECRET, SMALL, TOPIC } from "./rpc_calls.ts";

const [dataDir = "", brokerGroup = "0"] = process.argv.slice(2);
const clock = systemClock;
const entropy = (size: number) => new Uint8Array(randomBytes(size));
const answer = new Uint8Array(4);

const broker = await openLocalBroker(dataDir, { brokerGroup: Number(brokerGroup) });
let id = 0;
const services = serveBroker(new Services(), { api: broker.api, clock })
  .call(SMALL, () => Promise.resolve(answer))
  .call(DIRECT, (wish) =>
    measure(wish, () => broker.api.messages.publish(TOPIC, { id: `direct-${id++}`, body: BODY })),
  );
const server = new RpcServer(
  { clock, crc32, hmac, entropy, log: () => {} },
  { self: { cluster: "bench", node: "server", secret: SECRET }, services },
);
const { port } = await listen(server, { host: "127.0.0.1", port: 0 });
console.log(`ready on ${port}`);
