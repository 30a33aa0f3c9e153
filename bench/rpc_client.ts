/**
 * The client's process of `rpc.ts`: `bun bench/rpc_client.ts PORT ROUNDS SECONDS`
 * prints one line of JSON per round.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { dialer } from "../src/rpc/dial_node.ts";
import { Peer, RemoteBroker } from "../src/rpc/mod.ts";
import { crc32 } from "../storage/base/checksum_node.ts";
import { systemClock } from "../storage/base/clock_node.ts";
import { hmac } from "../storage/base/hmac_node.ts";
import { BODY, DIRECT, measure, SECRET, SMALL, TOPIC } from "./rpc_calls.ts";

const [port = 0, rounds = 0, seconds = 0] = process.argv.slice(2).map(Number);
const entropy = (size: number) => new Uint8Array(randomBytes(size));
const peer = new Peer(
  { clock: systemClock, crc32, hmac, entropy, dial: dialer({ host: "127.0.0.1", port }) },
  {
    self: { cluster: "bench", node: "client", secret: SECRET },
    expects: { authenticated: false },
  },
);
const { messages } = new RemoteBroker(peer);
const many = { concurrency: 128, seconds };
const [one, some] = [
  { concurrency: 1, seconds },
  { concurrency: 64, seconds },
];
let id = 0;
const publish = () => messages.publish(TOPIC, { id: `remote-${id++}`, body: BODY });

for (let round = 0; round <= rounds; round++) {
  const figures = {
    small: await measure(many, () => peer.call(SMALL, BODY)),
    smallAlone: await measure(one, () => peer.call(SMALL, BODY)),
    remote: await measure(some, publish),
    direct: await peer.call(DIRECT, some, { timeoutMs: 1000 * seconds + 30_000 }),
    remoteMany: await measure({ ...many, concurrency: 512 }, publish),
    directMany: await peer.call(
      DIRECT,
      { ...many, concurrency: 512 },
      { timeoutMs: 1000 * seconds + 30_000 },
    ),
  };
  // The first round warms up the compilers and is not counted.
  if (round > 0) console.log(JSON.stringify(figures));
}
peer.close();
