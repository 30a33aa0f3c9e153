/**
 * Does the checker see what it should? One clean history passes; then one
 * mutation per rule breaks just that rule, and the checker must name it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { check, type Rule } from "./checker.ts";
import type { Delivery, FinalState, History, Settlement, Stored } from "./history.ts";

interface World {
  readonly history: History;
  readonly final: { queues: Stored[][]; lag: number };
}

/** Two queues of three messages; b-0, b-1 are an atomic batch; every message acked in attempt 1. */
function cleanWorld(): World {
  const queues: Stored[][] = [
    ["a-0", "a-1", "a-2"].map((id, index) => stored(id, 0, index)),
    ["b-0", "b-1", "c-0"].map((id, index) => stored(id, 1, index)),
  ];
  const all = queues.flat();
  const history: History = {
    publishes: all.map((message) => ({
      ...message,
      keySeq: Number(message.id.slice(2)),
      unit: message.key === "b" ? "unit-1" : undefined,
      outcome: "acked",
    })),
    deliveries: all.map((message, index) => delivery(message.id, { step: 10 + index })),
    settlements: all.map((message, index) => settlement(`${message.id}#1`, { step: 20 + index })),
    readers: [{ name: "the reader", seen: [...all] }],
    reach: [],
    complaints: [],
    startsMs: [120, 300],
  };
  return { history, final: { queues, lag: 0 } };
}

function stored(id: string, queueId: number, queueOffset: number): Stored {
  return { id, checksum: id.length, key: id.slice(0, 1), queueId, queueOffset };
}

function delivery(id: string, more: Partial<Delivery> & { step: number }): Delivery {
  const attempt = more.attempt ?? 1;
  const receipt = `${id}#${attempt}`;
  const times = { askedStep: more.step - 1, atMs: more.step * 100 };
  return { id, attempt, receipt, ...times, leaseUntilMs: more.step * 100 + 1000, ...more };
}

function settlement(receipt: string, more: Partial<Settlement> & { step: number }): Settlement {
  return { receipt, action: "ack", askedStep: more.step - 1, status: "ok", ...more };
}

const publishOf = ({ history }: World, id: string) => {
  const found = history.publishes.find((one) => one.id === id);
  assert(found);
  return found;
};

/** Takes a message out of the log and moves the ones behind it up, in all that was said about them. */
function dropFromLog(world: World, id: string): void {
  for (const queue of world.final.queues) {
    const at = queue.findIndex((one) => one.id === id);
    if (at < 0) continue;
    queue.splice(at, 1);
    for (let index = at; index < queue.length; index++) {
      queue[index] = { ...(queue[index] as Stored), queueOffset: index };
      publishOf(world, (queue[index] as Stored).id).queueOffset = index;
    }
  }
  world.history.readers[0]?.seen.splice(0, Infinity, ...world.final.queues.flat());
}

/** One more becomes visible when readers and consumers have been told to stop. */
function comeLate({ history, final }: World, id: string): void {
  history.reach = final.queues.map(({ length }) => length);
  const late = stored(id, 0, final.queues[0]?.length ?? 0);
  final.queues[0]?.push(late);
  history.publishes.push({ ...late, keySeq: Number(id.slice(2)), outcome: "unknown" });
}

/** Undoes the ack of a message, so that a later delivery of it is fair. */
function unacked(world: World, id: string, ...instead: Settlement[]): void {
  const { settlements } = world.history;
  const at = settlements.findIndex((one) => one.receipt === `${id}#1`);
  settlements.splice(at, 1, ...instead);
}

const again = (id: string, more: Partial<Delivery> = {}) =>
  delivery(id, { attempt: 2, step: 40, ...more });

const mutations: [rule: Rule, how: string, mutate: (world: World) => void][] = [
  ["lost", "an acknowledged message is gone", (world) => dropFromLog(world, "a-2")],
  [
    "duplicate",
    "a message is stored twice",
    ({ history, final }) => {
      const copy = stored("a-2", 0, 3);
      final.queues[0]?.push(copy);
      history.readers[0]?.seen.push(copy);
    },
  ],
  [
    "altered",
    "a body changed",
    (world) => {
      Object.assign(publishOf(world, "a-1"), { checksum: 99 });
    },
  ],
  [
    "altered",
    "a key changed",
    (world) => {
      Object.assign(publishOf(world, "c-0"), { key: "other" });
    },
  ],
  [
    "phantom",
    "a message nobody published",
    ({ history }) => {
      history.publishes.splice(5, 1);
    },
  ],
  [
    "moved",
    "the answer named another offset",
    (world) => {
      publishOf(world, "a-1").queueOffset = 7;
    },
  ],
  [
    "refused-but-stored",
    "a refused message is there",
    (world) => {
      publishOf(world, "a-1").outcome = "refused";
    },
  ],
  [
    "torn-unit",
    "half an atomic batch is stored",
    (world) => {
      publishOf(world, "b-1").outcome = "unknown";
      dropFromLog(world, "b-1");
    },
  ],
  [
    "gap",
    "an offset is skipped",
    (world) => {
      world.final.queues[0]?.splice(2, 1, stored("a-2", 0, 3));
      publishOf(world, "a-2").queueOffset = 3;
      world.history.readers.pop(); // It would report what it saw at the skipped offset.
    },
  ],
  [
    "reordered",
    "two messages of a key changed places",
    (world) => {
      Object.assign(publishOf(world, "a-0"), { keySeq: 1 });
      Object.assign(publishOf(world, "a-1"), { keySeq: 0 });
    },
  ],
  [
    "split-key",
    "a key lies on two queues",
    ({ history, final }) => {
      const moved = { ...(final.queues[1]?.[2] as Stored), key: "a" };
      final.queues[1]?.splice(2, 1, moved);
      Object.assign(history.publishes[5] as object, { key: "a", keySeq: 3 });
    },
  ],
  [
    "reader-gap",
    "a reader skipped one",
    ({ history }) => {
      history.readers[0]?.seen.splice(1, 1);
    },
  ],
  [
    "reader-repeat",
    "a reader saw one twice",
    ({ history }) => {
      history.readers[0]?.seen.splice(1, 0, stored("a-0", 0, 0));
    },
  ],
  [
    "reader-saw-other",
    "a reader saw what is gone now",
    ({ history }) => {
      history.readers[0]?.seen.splice(1, 1, stored("x-1", 0, 1));
    },
  ],
  [
    "reader-missed",
    "a reader never saw the last",
    ({ history }) => {
      history.readers[0]?.seen.pop();
    },
  ],
  [
    "reader-missed",
    "a reader never saw the last that was there in time",
    (world) => {
      comeLate(world, "a-3");
      world.history.readers[0]?.seen.splice(2, 1);
    },
  ],
  [
    "undelivered",
    "no consumer ever got one",
    ({ history }) => {
      history.deliveries.splice(3, 1);
    },
  ],
  [
    "undelivered",
    "no consumer ever got the last that was there in time",
    (world) => {
      comeLate(world, "a-3");
      world.history.deliveries.splice(2, 1);
    },
  ],
  [
    "returned",
    "an acked message came back",
    ({ history }) => {
      history.deliveries.push(again("a-0"));
    },
  ],
  [
    "returned",
    "one acked late came back in an answer that was already under way",
    (world) => {
      unacked(world, "a-0", settlement("a-0#1", { step: 41, status: "late" }));
      world.history.deliveries.push(again("a-0"));
    },
  ],
  [
    "early",
    "a delayed message was delivered before it was due",
    (world) => {
      const [first] = world.history.deliveries;
      const publish = world.history.publishes.find(({ id }) => id === first?.id);
      if (publish && first) publish.dueAtMs = first.atMs + 6;
    },
  ],
  [
    "double-lease",
    "a second lease began while the first ran",
    (world) => {
      unacked(world, "a-0");
      world.history.deliveries.push(again("a-0", { atMs: 1500 }));
    },
  ],
  [
    "double-lease",
    "a second lease began while the first, extended, ran",
    (world) => {
      const extend = settlement("a-0#1", { step: 20, action: "extend", leaseUntilMs: 9000 });
      unacked(world, "a-0", extend);
      world.history.deliveries.push(again("a-0"));
    },
  ],
  [
    "attempt",
    "an attempt was counted twice",
    (world) => {
      unacked(world, "a-0");
      world.history.deliveries.push(again("a-0", { attempt: 1 }));
    },
  ],
  [
    "lag",
    "the group still owes something",
    ({ final }) => {
      final.lag = 1;
    },
  ],
  [
    "lag",
    "the group owes more than what came late",
    (world) => {
      comeLate(world, "a-3");
      world.final.lag = 2;
    },
  ],
  ["slow-start", "a start took long", ({ history }) => history.startsMs.push(10_500)],
  ["complaint", "a client complained", ({ history }) => history.complaints.push("no answer")],
];

const rulesOf = ({ history, final }: World) => [
  ...new Set(check(history, final as FinalState).map((violation) => violation.rule)),
];

describe("check()", () => {
  it("finds nothing in a clean history", () => assert.deepEqual(rulesOf(cleanWorld()), []));

  const fair: [what: string, make: (world: World) => void][] = [
    [
      "an unanswered publish that is stored",
      (world) => {
        publishOf(world, "a-1").outcome = "unknown";
      },
    ],
    [
      "an unanswered publish that is not",
      (world) => {
        publishOf(world, "a-1").outcome = "unknown";
        dropFromLog(world, "a-1");
      },
    ],
    [
      "an unanswered atomic batch that is wholly absent",
      (world) => {
        for (const id of ["b-0", "b-1"]) {
          publishOf(world, id).outcome = "unknown";
          dropFromLog(world, id);
        }
      },
    ],
    [
      "a message that came when readers and consumers had stopped",
      (world) => {
        comeLate(world, "a-3");
        world.final.lag = 1;
      },
    ],
    [
      "a message that came then, and was seen all the same",
      (world) => {
        comeLate(world, "a-3");
        world.history.readers[0]?.seen.push(world.final.queues[0]?.at(-1) as Stored);
        world.history.deliveries.push(delivery("a-3", { step: 40 }));
      },
    ],
    [
      "a redelivery after the lease ended",
      (world) => {
        unacked(world, "a-0");
        world.history.deliveries.push(again("a-0"));
      },
    ],
    [
      "a redelivery at once after a release",
      (world) => {
        unacked(world, "a-0", settlement("a-0#1", { step: 12, action: "release" }));
        world.history.deliveries.push(again("a-0", { step: 14 }));
      },
    ],
    [
      "a redelivery after an ack nobody answered",
      (world) => {
        unacked(world, "a-0", { receipt: "a-0#1", action: "ack", askedStep: 12 });
        world.history.deliveries.push(again("a-0"));
      },
    ],
    [
      "an ack that was answered behind the ack of the next delivery",
      (world) => {
        unacked(world, "a-0", settlement("a-0#1", { step: 50 }), settlement("a-0#2", { step: 42 }));
        world.history.deliveries.push(again("a-0"));
      },
    ],
  ];
  for (const [what, make] of fair) {
    it(`allows ${what}`, () => {
      const world = cleanWorld();
      make(world);
      assert.deepEqual(rulesOf(world), []);
    });
  }

  for (const [rule, how, mutate] of mutations) {
    it(`finds "${rule}" when ${how}`, () => {
      const world = cleanWorld();
      mutate(world);
      assert.deepEqual(rulesOf(world), [rule]);
    });
  }
});
