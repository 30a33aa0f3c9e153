/**
 * A fault under load, again and again, over one data directory: kill -9, or what
 * another breaker does (breakers.ts).
 *
 *   start ─▶ load for a random while ─▶ SIGKILL ─▶ start ─▶ …
 *                                          └▶ sometimes killed again while it recovers
 *
 * After the last one the publishers stop, consumers and readers finish, the
 * server is killed once more at rest, and everything is read back. The verdict
 * is the checker's. One seed gives one schedule of kills and one stream of
 * messages per client; the interleaving is the machine's.
 *
 * @module
 */

import { Prng } from "../../storage/base/prng.ts";
import { type RuntimeName, type Server, spawnServer, until } from "../e2e/server.ts";
import { client, lagOf, putGroup, putTopic, readAll } from "../e2e/wire.ts";
import { check, type Violation } from "./checker.ts";
import { type Breaker, killer } from "./breakers.ts";
import { Consumer } from "./consumers.ts";
import type { FinalState } from "./history.ts";
import { Producer } from "./producers.ts";
import { type RepeatBy, Repeater } from "./repeaters.ts";
import { followByPolling, followByStream } from "./readers.ts";
import { Recorder, storedFrom } from "./recorder.ts";
import { pause, Target } from "./target.ts";
import { answerChecks, type Plans, Transactor, undecided } from "./transactors.ts";

export interface CampaignOptions {
  readonly runtime: RuntimeName;
  readonly dataDir: string;
  readonly seed: number;
  /** How many times it strikes. */
  readonly kills: number;
  /** kill -9 where there is none. */
  readonly breaker?: Breaker | undefined;
  /** Hears how it goes on. */
  readonly log: (line: string) => void;
}

export interface CampaignResult {
  readonly violations: readonly Violation[];
  /** Kills that hit a server that was still starting. */
  readonly killsInStart: number;
  /** Faults that were seen to take effect. */
  readonly effective: number;
  readonly published: number;
  readonly acked: number;
  readonly unknown: number;
  /** Requests that the disk had no room for. */
  readonly forRoom: number;
  /** Repeats of what was answered before. */
  readonly repeats: number;
  readonly transactions: { readonly begun: number; readonly checked: number };
  readonly stored: number;
  readonly deliveries: number;
  readonly slowestStartMs: number;
}

const TOPIC = "orders";
const GROUP = "workers";
const QUEUES = 4;
const SINGLE_PRODUCERS = 40;
const BATCH_PRODUCERS = 8;
/** Those who publish until they are answered. */
const REPEATERS: readonly RepeatBy[] = [
  ...Array<RepeatBy>(8).fill("key"),
  ...Array<RepeatBy>(4).fill("batch key"),
  ...Array<RepeatBy>(4).fill("sequence"),
];
const TRANSACTORS = 8;
const CONSUMERS = 8;
const CATCH_UP_MS = 30_000;
const LOAD_MS = { least: 200, most: 2000 };

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const prng = new Prng(options.seed);
  const recorder = new Recorder();
  const target = new Target();
  const breaker = options.breaker ?? killer(options);
  let server = await start(breaker, { fault: true, recorder, prng });
  try {
    await prepare(server.port);
    target.up(server.port);
    const clients = startClients(target, { recorder, prng });
    let killsInStart = 0;
    let effective = 0;
    for (let kill = 1; kill <= options.kills; kill++) {
      const loadMs = LOAD_MS.least + prng.below(LOAD_MS.most - LOAD_MS.least);
      await Promise.race([pause(loadMs), clients.failed]);
      if (await Promise.race([breaker.strike(server), clients.failed])) effective++;
      target.down();
      await server.kill("SIGKILL");
      await breaker.mend();
      if (prng.chance(25)) killsInStart += await killWhileStarting(options, prng);
      server = await start(breaker, { fault: kill < options.kills, recorder, prng });
      target.up(server.port);
      options.log(progress(kill, { options, recorder, server }));
    }
    await Promise.race([pause(LOAD_MS.least), clients.failed]);
    await clients.finish(server);

    await server.kill("SIGKILL");
    server = await start(breaker, { fault: false, recorder, prng });
    const final = await readBack(server.port);
    if (recorder.forRoom > 0 && !breaker.takesRoom) {
      recorder.complain("clients were told that the disk has no room");
    }
    return summarize(recorder, { final, killsInStart, effective });
  } catch (error) {
    options.log(`The server wrote:\n${server.output().slice(-4000)}`);
    throw error;
  } finally {
    target.stop();
    await server.kill("SIGKILL");
  }
}

/** A fault may strike while it starts: then it is mended, and started again without. */
async function start(
  breaker: Breaker,
  { fault, recorder, prng }: { fault: boolean; recorder: Recorder; prng: Prng },
): Promise<Server> {
  const server = await breaker.start({ fault, prng }).catch(async (error: unknown) => {
    if (!fault) throw error;
    await breaker.mend();
    return breaker.start({ fault: false, prng });
  });
  recorder.history.startsMs.push(server.readyMs);
  return server;
}

/** Returns 1: another kill, before or after the server came up. */
async function killWhileStarting(options: CampaignOptions, prng: Prng): Promise<1> {
  const starting = spawnServer(options);
  const gaveUp = starting.ready.catch(() => {});
  await pause(prng.below(400));
  await starting.kill("SIGKILL");
  await gaveUp;
  return 1;
}

async function prepare(port: number): Promise<void> {
  await putTopic(client(port), TOPIC, { queues: QUEUES });
  await putGroup(client(port), GROUP, {
    subscriptions: [{ topic: TOPIC }],
    startFrom: "earliest",
    maxAttempts: 1000,
    backoff: { initialMs: 50, multiplier: 1, maxMs: 50 },
  });
}

interface Clients {
  /** Rejects when a client met what it cannot explain. */
  readonly failed: Promise<never>;
  /** Stops the publishers, lets the others catch up, stops them too. */
  finish(server: Server): Promise<void>;
}

function startClients(target: Target, context: { recorder: Recorder; prng: Prng }): Clients {
  const { recorder, prng } = context;
  const [publishing, consuming] = [new AbortController(), new AbortController()];
  const own = () => new Prng(prng.word());
  const producers = Array.from({ length: SINGLE_PRODUCERS + BATCH_PRODUCERS }, (_, index) =>
    new Producer({
      name: `p${index}`,
      topic: TOPIC,
      batches: index >= SINGLE_PRODUCERS,
      prng: own(),
      recorder,
    }).run(target, publishing.signal),
  );
  const repeaters = REPEATERS.map((by, index) =>
    new Repeater({ name: `r${index}`, topic: TOPIC, by, prng: own(), recorder }).run(
      target,
      publishing.signal,
    ),
  );
  const plans: Plans = new Map();
  const transactors = Array.from({ length: TRANSACTORS }, (_, index) =>
    new Transactor({ name: `t${index}`, topic: TOPIC, prng: own(), recorder, plans }).run(
      target,
      publishing.signal,
    ),
  );
  const publishers = [...producers, ...repeaters, ...transactors];
  const others = [
    ...Array.from({ length: CONSUMERS }, () =>
      new Consumer({ group: GROUP, prng: own(), recorder }).run(target, consuming.signal),
    ),
    answerChecks(target, consuming.signal, { recorder, plans }),
    followByPolling(target, consuming.signal, { topic: TOPIC, recorder }),
    followByStream(target, consuming.signal, { topic: TOPIC, recorder }),
  ];
  const failed = new Promise<never>((_, reject) => {
    for (const one of [...publishers, ...others]) one.catch(reject);
  });
  failed.catch(() => {}); // Heard at the next race.
  return {
    failed,
    async finish(server) {
      publishing.abort();
      await Promise.race([Promise.all(publishers), failed]);
      const sender = client(server.port);
      const decided = async () => (await undecided(sender)) === 0;
      await until(decided, "every transaction is asked about", CATCH_UP_MS).catch(() => {
        recorder.complain("a transaction was not decided, or nobody was asked about it");
      });
      const settled = async () => (await lagOf(sender, GROUP)) === 0;
      const stored = (await readAll(sender, TOPIC)).length;
      const read = () => recorder.history.readers.every(({ seen }) => seen.length >= stored);
      // Those that do not catch up have met a fault, and the checker names it.
      await until(settled, "consumers catch up", CATCH_UP_MS).catch(() => {});
      await until(read, "readers catch up", CATCH_UP_MS).catch(() => {});
      consuming.abort();
      await Promise.race([Promise.all(others), failed]);
    },
  };
}

async function readBack(port: number): Promise<FinalState> {
  const sender = client(port);
  const queues = [];
  for (let queueId = 0; queueId < QUEUES; queueId++) {
    queues.push((await readAll(sender, TOPIC, { queueId })).map(storedFrom));
  }
  return { queues, lag: await lagOf(sender, GROUP) };
}

function progress(
  kill: number,
  { options, recorder, server }: { options: CampaignOptions; recorder: Recorder; server: Server },
): string {
  const { acked, settled } = recorder;
  const ready = `ready in ${Math.round(server.readyMs)} ms`;
  return `${options.runtime} kill ${kill}/${options.kills}: ${ready}, ${acked} acknowledged, ${settled} settled`;
}

function summarize(
  recorder: Recorder,
  found: { final: FinalState; killsInStart: number; effective: number },
): CampaignResult {
  const { final, killsInStart, effective } = found;
  const { publishes, deliveries, startsMs } = recorder.history;
  return {
    violations: check(recorder.history, final),
    killsInStart,
    effective,
    published: publishes.length,
    acked: recorder.acked,
    forRoom: recorder.forRoom,
    unknown: publishes.filter((one) => one.outcome === "unknown").length,
    repeats: recorder.repeats,
    transactions: recorder.transactions,
    stored: final.queues.flat().length,
    deliveries: deliveries.length,
    slowestStartMs: Math.round(Math.max(...startsMs)),
  };
}
