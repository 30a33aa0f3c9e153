/**
 * The fake broker keeps the contract of `BrokerApi` where it claims to.
 *
 * @module
 */

import { RECORDED } from "../suites/broker_api_trace.ts";
import { type Skip, testBrokerApi } from "../suites/broker_api.ts";
import { FakeBroker } from "./broker.ts";

const SKIPS: readonly Skip[] = [
  {
    reason: "it has no limits, of sizes or waits, and does not drain",
    tests: [
      "4 MiB",
      "refusals among them",
      "with one bad message",
      "beyond a unit of the log",
      "makes no topic when it stores nothing",
      "beyond the bound",
      "drain ends",
      "stores nothing of an atomic batch with a taken id",
      "a delay beyond the longest",
    ],
  },
  {
    reason: "it waits by the timers of the runtime, not by the clock of the test",
    tests: [
      "ends when its time is up",
      "is answered when a shorter lease than known ends",
      "end nothing is lost",
      "is answered when a delayed message is due",
    ],
  },
  {
    reason: "it goes through topics one after the other",
    tests: ["from all queues and subscriptions in turn"],
  },
  {
    reason: "an abort ends its waits and takes nothing back",
    tests: ["goes back", "gives back", "does not take back"],
  },
  {
    reason: "its cursors are readable, and lead from a queue's to the topic's",
    tests: [
      "read() of one queue gives its messages in order of offset",
      "stays in that queue",
      "refuses what is no cursor",
      "cursors of a queue sort",
    ],
  },
  {
    reason: "it keeps no trace of what consumers, recalls and transactions did",
    tests: [RECORDED],
  },
  {
    reason: "its filters are tag expressions",
    tests: ["SQL", '{"sql":'],
  },
];

testBrokerApi(
  "fake",
  (options) => {
    let now = 1_700_000_000_000;
    const api = new FakeBroker({ ...options, now: () => now });
    const clock = {
      now: () => now,
      advance(ms: number) {
        now += ms;
        api.messages.wakeups.wake();
      },
    };
    return Promise.resolve({ api, clock, drain() {}, close: () => Promise.resolve() });
  },
  SKIPS,
);
