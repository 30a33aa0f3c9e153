/**
 * SSE fan-out to 1,000 subscribers: how many events a second when pushed, and
 * how late they are at a steady 50 a second.
 *
 * @module
 */

import { Connection, type HttpRequest } from "../test/e2e/http.ts";
import { call, client, post, publish, putTopic } from "../test/e2e/wire.ts";
import { Audience, MARK } from "./audience.ts";
import { type Measured, PAYLOAD, type Scenario, type Subjects } from "./scenario.ts";
import { percentile } from "./statistics.ts";

const SUBSCRIBERS = 1000;
const BATCH = 20;
/** Batches on their way at once: enough to keep the server busy, too few to look like a flood. */
const IN_FLIGHT = 4;
const STEADY_PER_SECOND = 50;

const TEXT = `${MARK}${PAYLOAD.slice(1)}`;
const TOPIC = "fanout";

export const fanout: Scenario = {
  id: "fanout",
  title: `SSE fan-out to ${SUBSCRIBERS} subscribers, 256 B`,
  unit: "events/s",
  async prepare(subjects, { seconds }) {
    const stage = await setUp(subjects);
    return {
      tidegate: () => push(stage.tidegate, seconds),
      empty: () => push(stage.empty, seconds),
      close: stage.close,
    };
  },
};

export const steady: Scenario = {
  id: "steady",
  title: `SSE at ${STEADY_PER_SECOND} events/s to ${SUBSCRIBERS} subscribers`,
  unit: "events/s",
  async prepare(subjects, { seconds }) {
    const stage = await setUp(subjects);
    return {
      tidegate: () => drip(stage.tidegate, seconds),
      empty: () => drip(stage.empty, seconds),
      close: stage.close,
    };
  },
};

interface Stage {
  readonly audience: Audience;
  /** Publishes this many events in one request. */
  readonly send: (count: number) => Promise<void>;
}

async function setUp({ tidegate, empty }: Subjects): Promise<{
  tidegate: Stage;
  empty: Stage;
  close: () => void;
}> {
  await putTopic(client(tidegate.port), TOPIC, { queues: 1 }).catch(() => {}); // Second scenario: it exists.
  const path = `/v1/topics/${TOPIC}/messages`;
  const listeners = await Audience.open(tidegate.port, { path, size: SUBSCRIBERS });
  const streams = await Audience.open(empty.port, { path: "/stream", size: SUBSCRIBERS });
  const [publisher, sender] = [
    await Connection.open(tidegate.port),
    await Connection.open(empty.port),
  ];
  const batchOf = (count: number) =>
    post(`${path}/batch`, { messages: Array.from({ length: count }, () => ({ text: TEXT })) });
  const event = await oneEvent(tidegate.port, path);
  const chunkOf = (count: number): HttpRequest => ({
    method: "POST",
    path: "/publish",
    body: event.repeat(count),
  });
  return {
    tidegate: {
      audience: listeners,
      send: async (count) => void (await call(publisher, batchOf(count), 200)),
    },
    empty: {
      audience: streams,
      send: async (count) => void (await call(sender, chunkOf(count), 201)),
    },
    close() {
      for (const one of [listeners, streams, publisher, sender]) one.close();
    },
  };
}

/** An event as the gateway writes it, for the empty handler to write as well. */
async function oneEvent(port: number, path: string): Promise<string> {
  const connection = await Connection.open(port);
  let text = "";
  const seen = new Promise<string>((resolve) => {
    const headers = { Accept: "text/event-stream" };
    const onBody = (chunk: Uint8Array) => {
      text += Buffer.from(chunk).toString();
      const event = text.split("\n\n").find((one) => one.includes(TEXT));
      if (event !== undefined && text.endsWith("\n\n")) resolve(`${event}\n\n`);
    };
    connection.request({ path, headers, onBody }).catch(() => {}); // Closed below.
  });
  await publish(client(port), TOPIC, { body: TEXT });
  const event = await seen;
  connection.close();
  return event;
}

/** As fast as every subscriber gets it. */
async function push({ audience, send }: Stage, seconds: number): Promise<Measured> {
  audience.restart();
  const startedAt = performance.now();
  let sent = 0;
  while (performance.now() < startedAt + seconds * 1000) {
    await send(BATCH);
    sent += BATCH;
    await audience.hasSeen((sent - (IN_FLIGHT - 1) * BATCH) * SUBSCRIBERS);
  }
  await audience.hasSeen(sent * SUBSCRIBERS);
  const count = audience.seen;
  return { count, perSecond: (audience.seen / (performance.now() - startedAt)) * 1000 };
}

/** At a fixed rate: how long from asking to publish until a subscriber has it. */
async function drip({ audience, send }: Stage, seconds: number): Promise<Measured> {
  const sentAt: number[] = [];
  const answers: Promise<void>[] = [];
  audience.restart(sentAt);
  const startedAt = performance.now();
  const count = seconds * STEADY_PER_SECOND;
  for (let index = 0; index < count; index++) {
    const dueMs = startedAt + (index * 1000) / STEADY_PER_SECOND - performance.now();
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
    sentAt.push(performance.now());
    answers.push(send(1));
  }
  await Promise.all(answers);
  await audience.hasSeen(count * SUBSCRIBERS);
  const sorted = audience.latenciesMs.sort((a, b) => a - b);
  return {
    count: audience.seen,
    perSecond: (audience.seen / (performance.now() - startedAt)) * 1000,
    p50Ms: percentile(sorted, 50),
    p99Ms: percentile(sorted, 99),
  };
}
