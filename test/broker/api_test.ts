/**
 * The contract of `BrokerApi` over the real broker: as it runs, and as it is
 * after every single call when it is killed, loses power or is closed in between,
 * with segments so small that snapshots and sidecars are always involved.
 *
 * @module
 */

import { testBrokerApi } from "../suites/broker_api.ts";
import type { Opened } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { isFull } from "../effort.ts";
import { Restless, type Stop } from "./restless.ts";

testBrokerApi("running", openTestBroker);

const TINY = { segmentBytes: 1024 };

const LONG = {
  reason: "thousands of messages would be thousands of segments",
  tests: ["finds the one in thousands", "looks far behind a key"],
};

testBrokerApi("running on tiny segments", (options) => openTestBroker({ ...TINY, ...options }), [
  LONG,
]);

const open =
  (stop: Stop) =>
  async (options: object): Promise<Opened> => {
    return new Restless(await openTestBroker({ ...TINY, ...options }), stop);
  };

const ROTATION = {
  reason: "where the rotation stood is not kept: after a start it begins anew",
  tests: ["spreads messages without a key over all queues", "in turn", "moves that queue alone"],
};

const LATER = {
  reason: "a call that waits for a start is a call made later",
  tests: ["has copied the body when it returns"],
};

const DRAIN = {
  reason: "a drain ends with the process that drains",
  tests: ["drain ends waits and lets none begin"],
};

const PASSED = {
  reason: "behind a key that is held up, what was passed over is looked at again after a start",
  tests: ["lag() of an ordered group counts nothing that was passed over"],
};

/** What stops leave behind is proven on the two runtimes of first rank. */
const testStopped = "Bun" in globalThis || "Deno" in globalThis ? testBrokerApi : () => {};

testStopped("killed before every call", open("kill"), [ROTATION, LATER, DRAIN, LONG, PASSED]);
if (isFull)
  testStopped("closed before every call", open("close"), [ROTATION, LATER, DRAIN, LONG, PASSED]);
testStopped("losing power before every call", open("crash"), [
  ROTATION,
  LATER,
  DRAIN,
  LONG,
  PASSED,
  {
    reason: "what is only written is lost with the power",
    tests: ["with acks replicated", "with acks leader"],
  },
]);
