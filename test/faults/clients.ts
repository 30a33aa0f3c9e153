/**
 * All clients of a campaign: publishers of every kind, consumers, readers, and who
 * answers checks. Started together, finished in order: first those who publish,
 * then, when there is nothing left to do, the others.
 *
 * @module
 */

import { Prng } from "../../storage/base/prng.ts";
import { until } from "../e2e/server.ts";
import { client, lagOf, putGroup, putTopic, readAll, type WireMessage } from "../e2e/wire.ts";
import { Consumer } from "./consumers.ts";
import { Delayer } from "./delayers.ts";
import type { FinalState, History } from "./history.ts";
import { Producer } from "./producers.ts";
import { type RepeatBy, Repeater } from "./repeaters.ts";
import { followByPolling, followByStream } from "./readers.ts";
import { type Recorder, storedFrom } from "./recorder.ts";
import { pause, type Target } from "./target.ts";
import { answerChecks, type Plans, Transactor, undecided } from "./transactors.ts";

export interface Crowd {
  readonly single: number;
  readonly batch: number;
  /** Those who publish until they are answered. */
  readonly repeaters: Readonly<Record<RepeatBy, number>>;
  readonly transactors: number;
  readonly delayers: number;
  readonly consumers: number;
}

const TOPIC = "orders";
const GROUP = "workers";
const QUEUES = 4;
const CATCH_UP_MS = 30_000;

export async function prepare(port: number): Promise<void> {
  await putTopic(client(port), TOPIC, { queues: QUEUES });
  await putGroup(client(port), GROUP, {
    subscriptions: [{ topic: TOPIC }],
    startFrom: "earliest",
    maxAttempts: 1000,
    backoff: { initialMs: 50, multiplier: 1, maxMs: 50 },
  });
}

export interface Clients {
  /** Rejects when a client met what it cannot explain. */
  readonly failed: Promise<never>;
  /** Stops the publishers, lets the others catch up, stops them too. */
  finish(port: number): Promise<void>;
}

interface Client {
  run(target: Target, signal: AbortSignal): Promise<void>;
}

export function startClients(
  target: Target,
  context: { readonly recorder: Recorder; readonly prng: Prng; readonly crowd: Crowd },
): Clients {
  const { recorder, prng, crowd } = context;
  const [publishing, consuming] = [new AbortController(), new AbortController()];
  const start = (
    count: number,
    make: (options: { index: number; topic: string; prng: Prng; recorder: Recorder }) => Client,
    signal = publishing.signal,
  ) =>
    Array.from({ length: count }, (_, index) =>
      make({ index, topic: TOPIC, prng: new Prng(prng.word()), recorder }).run(target, signal),
    );
  const plans: Plans = new Map();
  const kinds = Object.entries(crowd.repeaters) as [RepeatBy, number][];
  const repeatBy = kinds.flatMap(([by, count]) => Array<RepeatBy>(count).fill(by));
  const { single, batch } = crowd;
  const publishers = [
    ...start(single + batch, ({ index, ...one }) => {
      return new Producer({ ...one, name: `p${index}`, batches: index >= single });
    }),
    ...start(repeatBy.length, ({ index, ...one }) => {
      return new Repeater({ ...one, name: `r${index}`, by: repeatBy[index] as RepeatBy });
    }),
    ...start(crowd.transactors, ({ index, ...one }) => {
      return new Transactor({ ...one, name: `t${index}`, plans });
    }),
    ...start(crowd.delayers, ({ index, ...one }) => new Delayer({ ...one, name: `d${index}` })),
  ];
  const { signal } = consuming;
  const others = [
    ...start(crowd.consumers, (one) => new Consumer({ ...one, group: GROUP }), signal),
    answerChecks(target, signal, { recorder, plans }),
    followByPolling(target, signal, { topic: TOPIC, recorder }),
    followByStream(target, signal, { topic: TOPIC, recorder }),
  ];
  const failed = new Promise<never>((_, reject) => {
    for (const one of [...publishers, ...others]) one.catch(reject);
  });
  failed.catch(() => {}); // Heard at the next race.
  return {
    failed,
    async finish(port) {
      publishing.abort();
      await Promise.race([Promise.all(publishers), failed]);
      await catchUp(port, recorder);
      consuming.abort();
      await Promise.race([Promise.all(others), failed]);
    },
  };
}

/** Those that do not catch up have met a fault, and the checker names it. */
async function catchUp(port: number, recorder: Recorder): Promise<void> {
  const sender = client(port);
  const { history } = recorder;
  const decided = async () => (await patiently(() => undecided(sender))) === 0;
  await until(decided, "every transaction is asked about", CATCH_UP_MS).catch(() => {
    recorder.complain("a transaction was not decided, or nobody was asked about it");
  });
  const lastDue = history.publishes.reduce((last, one) => Math.max(last, one.dueAtMs ?? 0), 0);
  // Its broker counts a delay from when the publish arrived, which may be seconds later: so it is looked.
  const isThere = async () =>
    Date.now() > lastDue && hasAcked(history, await patiently(() => readAll(sender, TOPIC)));
  await until(isThere, "what was acknowledged is there", CATCH_UP_MS).catch(() => {});
  const settled = async () => (await patiently(() => lagOf(sender, GROUP))) === 0;
  await until(settled, "consumers catch up", CATCH_UP_MS).catch(() => {});
  const caughtUp = async () => {
    const before = history.reach;
    history.reach = reachOf(await patiently(() => readAll(sender, TOPIC)));
    const count = history.reach.reduce((sum, one) => sum + one, 0);
    // What a gateway still tried for a publisher that had given up may have come meanwhile.
    const quiet = history.reach.join() === before.join();
    return quiet && history.readers.every(({ seen }) => seen.length >= count) && (await settled());
  };
  await until(caughtUp, "readers catch up", CATCH_UP_MS).catch(() => {});
}

function hasAcked({ publishes }: History, messages: readonly WireMessage[]): boolean {
  const ids = new Set(messages.map(({ id }) => id));
  return publishes.every(({ id, outcome }) => outcome !== "acked" || ids.has(id));
}

function reachOf(messages: readonly WireMessage[]): readonly number[] {
  const reach = Array.from({ length: QUEUES }, () => 0);
  for (const { queueId, queueOffset } of messages) {
    reach[queueId] = Math.max(reach[queueId] ?? 0, Number(queueOffset) + 1);
  }
  return reach;
}

export async function readBack(port: number): Promise<FinalState> {
  const sender = client(port);
  const queues = [];
  for (let queueId = 0; queueId < QUEUES; queueId++) {
    const messages = await patiently(() => readAll(sender, TOPIC, { queueId }));
    queues.push(messages.map(storedFrom));
  }
  return { queues, lag: await patiently(() => lagOf(sender, GROUP)) };
}

const TRIES = 5;

/** A look at what is there may break off, and is begun again: nothing is judged by it but its end. */
async function patiently<T>(look: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left--) {
    try {
      return await look();
    } catch (error) {
      if (left === 1) throw error;
      await pause(1000);
    }
  }
}
