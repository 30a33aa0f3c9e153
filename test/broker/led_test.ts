/**
 * The contract of `BrokerApi` over a broker that leads: all it appends and answers goes
 * by way of what replication asks of a log. In a group of one; in a group of two; and
 * in one whose leader dies before every call, so that each is answered by who followed
 * until then, while who led before comes back and follows.
 *
 * @module
 */

import { testBrokerApi } from "../suites/broker_api.ts";
import { openLedBroker } from "../suites/open_broker.ts";
import { openPairBroker } from "../suites/replicated_pair.ts";
import { isFirstRank, isFull, isOnDeno, isWhole } from "../effort.ts";
import { DRAIN, LATER, LONG, PASSED, Restless, ROTATION, WRITTEN } from "./restless.ts";

if (isWhole) testBrokerApi("leading a group of one", openLedBroker);

if (isFirstRank) testBrokerApi("leading a group of two", openPairBroker);

const NAMED = [ROTATION, LATER, DRAIN, LONG, PASSED];

// A group of two that loses power says more than one of one.
if (isFull) {
  testBrokerApi(
    "elected again, after losing power, before every call",
    async (options) => {
      return new Restless(await openLedBroker({ segmentBytes: 1024, ...options }), "crash");
    },
    [ROTATION, LATER, DRAIN, LONG, PASSED, WRITTEN],
  );
}

// What the log does at a stop is the same on every runtime: the harder on Bun, the other on Deno.
if (isOnDeno) {
  testBrokerApi(
    "handed over to who followed, before every call",
    async (options) => {
      return new Restless(await openPairBroker({ segmentBytes: 1024, ...options }), "kill");
    },
    NAMED,
  );
}

if (isWhole) {
  testBrokerApi(
    "handed over to who followed, with the power of the leader lost, before every call",
    async (options) => {
      return new Restless(await openPairBroker({ segmentBytes: 1024, ...options }), "crash");
    },
    [...NAMED, WRITTEN],
  );
}
