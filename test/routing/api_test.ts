/**
 * The contract of `BrokerApi` over a cluster: one broker group, where it is kept to the
 * letter, and three, where order between broker groups and what needs more than one of
 * them at once are other. Messages of three are published a millisecond apart, where
 * the order of a topic is shown, and in one instant, where times are.
 *
 * @module
 */

import type { BrokerApi } from "../../src/broker/api.ts";
import { isOnDeno, isWhole } from "../effort.ts";
import { type Skip, testBrokerApi } from "../suites/broker_api.ts";
import type { OpenOptions, Opened } from "../suites/broker_api_kit.ts";
import { LocalCluster } from "../fakes/local_cluster.ts";

const MEMBERS = ["topics", "messages", "groups", "transactions"] as const;

async function open(groups: number, options: OpenOptions): Promise<Opened> {
  const cluster = await LocalCluster.open({ ...options, groups });
  return {
    api: cluster.gateway(),
    clock: cluster.clock,
    drain: () => cluster.drain(),
    close: () => cluster.close(),
  };
}

/** Messages become visible a millisecond apart, so that the order of a topic is the order of the calls. */
async function openApart(groups: number, options: OpenOptions): Promise<Opened> {
  const opened = await open(groups, options);
  const { api, clock } = opened;
  const messages: BrokerApi["messages"] = {
    ...api.messages,
    publish(topic, message) {
      clock.advance(1);
      return api.messages.publish(topic, message);
    },
  };
  const apart = Object.fromEntries(MEMBERS.map((name) => [name, api[name]]));
  return { ...opened, api: { ...apart, messages, status: () => api.status() } as BrokerApi };
}

/** What a cluster of several broker groups refuses by name, or promises in each of them only. */
const SEVERAL: readonly Skip[] = [
  {
    reason: "nothing is atomic over broker groups: the keys of these batches want several",
    tests: [
      "publishBatch() atomic is answered again as a whole",
      "publishBatch() atomic repeated in part",
      "publishBatch() atomic with",
      "commit() makes all of its messages visible, in order, in all topics",
    ],
  },
  {
    reason: "queues grow from a multiple of the number of broker groups to another",
    tests: [
      "patch() changes the number of queues upwards",
      "stays in its queue when the topic grows",
    ],
  },
  {
    reason: "a redrive to another topic would have to move messages between broker groups",
    tests: [
      "is answered by what is redriven to it",
      "redrive() to an unknown topic",
      "topic that cannot take one of them sends none",
    ],
  },
  {
    reason: "maxInFlight holds in each broker group",
    tests: [
      "deleting a topic voids its leases and makes room for others",
      "patch() of maxInFlight upwards serves who waits",
      "seek() makes room for others",
    ],
  },
  {
    reason: "what becomes visible, or falls due, at one time has no order between broker groups",
    tests: [
      "read() gives only what the filter wants",
      "read() with a filter can be taken up again behind any message",
      "two readers see one order",
      "delayed messages that are late all at once keep their order",
      "checks come in the order they are due",
    ],
  },
];

testBrokerApi("over one broker group", (options) => open(1, options));

if (isOnDeno)
  testBrokerApi(
    "over three broker groups, a message a millisecond",
    (options) => openApart(3, options),
    [
      ...SEVERAL,
      {
        reason:
          "the clock moves with each message: what is at the very moment is shown in one instant",
        tests: [
          "a delay beyond the longest is refused with the limit",
          "a delayed message has no place until it is due",
          "a delayed message may have a time instead of a delay",
          "a key is known until a day has passed since the first",
          "a producer is forgotten when it was idle for seven days",
          "a released message keeps its key until it comes again",
          "lag() counts what is ready, leased, waiting and done",
          "read() from a time gives what became visible then or later",
          "seek() to a time goes to what became visible then or later",
          "what is redriven counts in lag() again",
        ],
      },
    ],
  );

if (isWhole) {
  testBrokerApi("over three broker groups, in one instant", (options) => open(3, options), [
    ...SEVERAL,
    {
      reason:
        "messages of one instant have no order between broker groups: that is shown a millisecond apart",
      tests: [
        "a cursor before what is kept has expired",
        "get() finds a message by its id",
        "get() finds the newest of equal ids",
        "messages go when they are older than the topic keeps them",
        "publish() numbers each queue without gaps, also in one turn",
        "read() by tag is not fooled by another of the same hash",
        "read() can be taken up again behind any message",
        "read() of a topic gives its queues in log order",
        "search() finds the messages of a transaction when it is committed",
        "search() goes on",
      ],
    },
  ]);
}
