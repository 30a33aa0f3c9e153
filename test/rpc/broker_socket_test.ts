/**
 * The contract of `BrokerApi` over RPC, through real sockets on loopback. Time is
 * moved by the tests, once nothing is on its way any more.
 *
 * @module
 */

import { dialer } from "../../src/rpc/dial_node.ts";
import { listen } from "../../src/rpc/listen_node.ts";
import {
  type Carrier,
  type CarrierEvents,
  type Dial,
  Peer,
  RemoteBroker,
  RpcServer,
  serveBroker,
  Services,
} from "../../src/rpc/mod.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { testBrokerApi } from "../suites/broker_api.ts";
import { type OpenOptions, type Opened, onTheWay } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { SECRET } from "./kit.ts";

/** Counts what is written at one end of a connection and has not come to the other. */
class Road {
  #bytes = 0;

  readonly isBusy = (): boolean => this.#bytes !== 0;

  carrier(carrier: Carrier): Carrier {
    return {
      write: (bytes) => {
        this.#bytes += bytes.length;
        return carrier.write(bytes);
      },
      get queuedBytes() {
        return carrier.queuedBytes;
      },
      pause: () => carrier.pause(),
      resume: () => carrier.resume(),
      end: () => carrier.end(),
      destroy: () => carrier.destroy(),
    };
  }

  events(events: CarrierEvents): CarrierEvents {
    return {
      onBytes: (chunk) => {
        this.#bytes -= chunk.length;
        events.onBytes(chunk);
      },
      onDrained: () => events.onDrained(),
      onClosed: (reason) => events.onClosed(reason),
    };
  }
}

async function open(options: OpenOptions): Promise<Opened> {
  const broker = await openTestBroker(options);
  const { clock } = broker;
  const entropy = (size: number) => crypto.getRandomValues(new Uint8Array(size));
  const ports = { clock, crc32, hmac, entropy };
  const limits = { pingMs: 1e12 }; // days pass in an instant, in which no ping is answered
  const identity = { cluster: "c", secret: SECRET };
  const services = serveBroker(new Services(), broker);
  const self = { ...identity, node: "broker-1" };
  const server = new RpcServer({ ...ports, log() {} }, { self, services, limits });

  const road = new Road();
  const listener = await listen(
    {
      accept: (carrier, info) => road.events(server.accept(road.carrier(carrier), info)),
      turnedAway: (from, reason) => server.turnedAway(from, reason),
    },
    { host: "127.0.0.1", port: 0 },
  );
  const toServer = dialer({ host: "127.0.0.1", port: listener.port });
  const dial: Dial = (events) => road.carrier(toServer(road.events(events)));
  const peer = new Peer(
    { ...ports, dial },
    { self: { ...identity, node: "gateway-1" }, expects: { authenticated: false }, limits },
  );
  onTheWay.add(road.isBusy);
  return {
    api: new RemoteBroker(peer),
    clock,
    drain: broker.drain,
    async close() {
      onTheWay.delete(road.isBusy);
      peer.close();
      listener.close();
      server.close();
      await broker.close();
    },
  };
}

testBrokerApi("over RPC on loopback", open);
