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
import { isFull, isOnDeno, isWhole } from "../effort.ts";
import { DRAIN, LATER, LONG, PASSED, Restless, ROTATION, type Stop, WRITTEN } from "./restless.ts";

testBrokerApi("running", openTestBroker);

const TINY = { segmentBytes: 1024 };

if (isWhole) {
  testBrokerApi("running on tiny segments", (options) => openTestBroker({ ...TINY, ...options }), [
    LONG,
  ]);
}

const open =
  (stop: Stop) =>
  async (options: object): Promise<Opened> => {
    return new Restless(await openTestBroker({ ...TINY, ...options }), stop);
  };

// What stops leave behind is the same on every runtime: the hardest on Bun, the mildest on Deno;
// of a kill, broker groups (led_test.ts) and real processes (e2e/kill9_test.ts) say more.
const NAMED = [ROTATION, LATER, DRAIN, LONG, PASSED];

if (isWhole) {
  testBrokerApi("losing power before every call", open("crash"), [...NAMED, WRITTEN]);
}

if (isOnDeno) testBrokerApi("closed before every call", open("close"), NAMED);

if (isFull) testBrokerApi("killed before every call", open("kill"), NAMED);
