/**
 * The contract of `BrokerApi` over RPC by HTTP, one request each: with functions for
 * a wire, and a clock that moves when nothing is on its way.
 *
 * @module
 */

import {
  HttpCaller,
  HttpRpcServer,
  RemoteBroker,
  serveBroker,
  Services,
} from "../../src/rpc/mod.ts";
import type { Caller, CallHandler, CallMethod } from "../../src/rpc/mod.ts";
import { crc32 } from "../../storage/base/checksum_web.ts";
import { testBrokerApi } from "../suites/broker_api.ts";
import { type OpenOptions, type Opened, onTheWay } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { isFirstRank } from "../effort.ts";
import { SECRET } from "./kit.ts";

/**
 * Lets a call go when the one before has come to the broker, for requests of their
 * own overtake each other; and knows whether one is neither there nor back.
 */
class Road extends Services {
  #calls = 0;
  #before: Promise<void> = Promise.resolve();
  #arrive = (): void => {};

  readonly isBusy = (): boolean => this.#calls > 0;

  override call<Request, Response>(
    method: CallMethod<Request, Response>,
    handler: CallHandler<Request, Response>,
  ): this {
    return super.call(method, async (request, context) => {
      this.#arrive();
      this.#calls--;
      try {
        return await handler(request, context);
      } finally {
        this.#calls++;
      }
    });
  }

  caller(caller: Caller): Caller {
    return {
      call: (method, request, options) => this.#inTurn(() => caller.call(method, request, options)),
    };
  }

  async #inTurn<T>(call: () => Promise<T>): Promise<T> {
    this.#calls++;
    const before = this.#before;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#before = promise;
    await before;
    this.#arrive = resolve;
    try {
      return await call();
    } finally {
      resolve();
      this.#calls--;
    }
  }
}

async function open(options: OpenOptions): Promise<Opened> {
  const broker = await openTestBroker(options);
  const { clock } = broker;
  const road = new Road();
  const identity = { cluster: "c", secret: SECRET };
  const services = serveBroker(road, broker);
  const server = new HttpRpcServer({ clock, crc32, log() {} }, { ...identity, services });
  const entropy = (size: number) => crypto.getRandomValues(new Uint8Array(size));
  const caller = new HttpCaller(
    { clock, crc32, entropy, fetch: server.fetch },
    { ...identity, node: "edge", url: "http://broker.example/rpc" },
  );
  onTheWay.add(road.isBusy);
  return {
    api: new RemoteBroker(road.caller(caller)),
    clock,
    drain: broker.drain,
    async close() {
      onTheWay.delete(road.isBusy);
      server.close();
      await broker.close();
    },
  };
}

const ABORT = {
  reason: "giving up ends the request, and with it the answer that would be none",
  tests: [
    "an aborted read ends without a message",
    "an aborted wait takes nothing",
    "what an aborted receive was given goes back",
    "what an aborted receive gives back wakes who waits",
    "an abort does not take back what the same attempt asked for again",
    "receiveChecks() given up takes nothing",
    "waits beyond the bound are refused, and a wait that ended makes room",
  ],
};

const TURNS = {
  reason: "here a call waits for its turn before it is encoded",
  tests: ["has copied the body when it returns"],
};

if (isFirstRank) testBrokerApi("over RPC by HTTP", open, [ABORT, TURNS]);
