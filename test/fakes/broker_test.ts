/**
 * The fake broker keeps the contract of `BrokerApi` where it claims to.
 *
 * @module
 */

import { type Skip, testBrokerApi } from "../suites/broker_api.ts";
import { FakeBroker } from "./broker.ts";

const SKIPS: readonly Skip[] = [
  {
    reason: "it has no limits, of sizes, leases or waits, and does not drain",
    tests: [
      "4 MiB",
      "refusals among them",
      "with one bad message",
      "beyond a unit of the log",
      "makes no topic when it stores nothing",
      "beyond the bound",
      "drain ends",
      "maxInFlight",
      "receive() ends before maxBytes",
      "when an ack makes room",
      "when dead letters make room",
    ],
  },
  {
    reason: "it waits by the timers of the runtime, not by the clock of the test",
    tests: [
      "ends when its time is up",
      "is answered when a lease ends",
      "is answered when a shorter lease than known ends",
      "is answered when a release comes due",
      "end nothing is lost",
    ],
  },
  {
    reason: "a settled message is settled: it keeps no count of attempts, backoff or dead letters",
    tests: [
      "of a message given back by this grant",
      "of a message done",
      "of a message a dead letter",
      "settle() judges a receipt named twice",
      "settle() takes no receipt of another group",
      "waits the backoff",
      "attempts are used up",
      "the last attempt is its end",
      "lag() counts",
    ],
  },
  {
    reason: "its subscriptions are made with their topic, and a deletion is not followed up",
    tests: [
      "ends the waits of",
      "a group waits for a topic",
      "a topic that was made again from its beginning",
      "that nobody can make by publishing",
      "voids its leases",
      "a group made again knows no receipt",
      "whatever the order of subscriptions",
      "from all queues and subscriptions in turn",
    ],
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
  { reason: "it serves every type of topic", tests: ["topics come later"] },
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
      },
    };
    return Promise.resolve({ api, clock, drain() {}, close: () => Promise.resolve() });
  },
  SKIPS,
);
