/**
 * The storage room by itself, for `storage.ts`: `bun bench/storage_work.ts WORK DATA_DIR COUNT [QUEUES]`
 * prints one line of JSON.
 *
 *   append  so many messages of 256 B in batches of 500, each batch written and
 *           synced with whatever else has come, a batch each turn of the event loop; all
 *           confirmed at the end
 *   read    them, queue by queue, 1,000 units and their bodies at a time
 *   fill    so many through a broker's `publishBatch`, into one topic of 8 queues
 *
 * @module
 */

import { crc32 } from "../storage/base/checksum_node.ts";
import { systemClock } from "../storage/base/clock_node.ts";
import { openNodeDisk } from "../storage/base/disk_node.ts";
import { workerJobs } from "../storage/jobs_node.ts";
import { type Fold, messageFrameSizeMax, MessageStore, readFrames } from "../storage/mod.ts";
import { openLocalBroker, SEGMENT_BYTES } from "./local_broker.ts";
import { threadTime } from "./thread_time.ts";

const TOPIC_GEN = 1;
const BATCH = 500;
/** Made before: to make them is not the storage's work. More than a segment has messages. */
const IDS = Array.from({ length: 2 ** 18 }, (_, i) => String(10 ** 9 + i));
const PAGE = 1000;
const BODY = new Uint8Array(256).fill(0x78);
/** Not confirmed yet, at most: about four batches of the flusher. */
const UNCONFIRMED_MAX = 16 * 1024 * 1024;

const [work, dataDir = "", countText = "", queuesText = "8"] = process.argv.slice(2);
const [count, queues] = [Number(countText), Number(queuesText)];
const works = { append, read, fill };
const { seconds, ownSeconds } = await works[work as keyof typeof works]();
console.log(JSON.stringify({ count, seconds, ownSeconds }));
process.exit(0);

interface Took {
  readonly seconds: number;
  /** That this thread ran for: the same on a machine that others use as well. */
  readonly ownSeconds: number;
}

async function timed(run: () => Promise<void>): Promise<Took> {
  const [startedAt, ranBefore] = [performance.now(), threadTime()];
  await run();
  const [seconds, ownSeconds] = [performance.now() - startedAt, threadTime() - ranBefore];
  return { seconds: seconds / 1000, ownSeconds: ownSeconds / 1000 };
}

/** A store whose appender keeps no state. */
function openStore(): Promise<MessageStore> {
  const fold: Fold = { begin() {}, restore() {}, apply() {}, takeChanges: () => [] };
  const stop = (error: Error) => {
    throw error;
  };
  const jobs = workerJobs(dataDir);
  const disk = openNodeDisk(dataDir);
  const ports = { disk, clock: systemClock, crc32, jobs, fatal: stop, report: stop };
  return MessageStore.open(ports, { segmentBytes: SEGMENT_BYTES, fold });
}

async function append(): Promise<Took> {
  const store = await openStore();
  let wake = () => {};
  store.listen({ onWritten() {}, onConfirm: () => wake() });
  const confirmed = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  const took = await timed(async () => {
    for (let at = 0; at < count; at += BATCH) {
      putBatch(store, at);
      store.log.flush();
      await turn(); // as requests come: some each turn of the event loop, while the disk is at work
      while (store.log.end - store.log.confirmOffset > UNCONFIRMED_MAX) await confirmed();
    }
    while (store.log.confirmOffset < store.log.end) await confirmed();
  });
  await store.close();
  return took;
}

function turn(): Promise<void> {
  return new Promise((resolve) => systemClock.defer(resolve));
}

/** Each a unit of its own, spread over the queues. */
function putBatch(store: MessageStore, first: number): void {
  const now = systemClock.now();
  for (let at = first; at < Math.min(first + BATCH, count); at++) {
    const attributes = { id: IDS[at % IDS.length] as string };
    const queueId = at % queues;
    const queueOffset = Math.floor(at / queues);
    const envelope = {
      topicGen: TOPIC_GEN,
      queueId,
      queueOffset,
      keyHash: 0,
      tagHash: 0,
      bornAt: now,
    };
    store.begin(now, messageFrameSizeMax(attributes, BODY.length));
    store.putMessage({ envelope, attributes, body: BODY }, { continued: false });
  }
}

async function read(): Promise<Took> {
  const store = await openStore();
  const took = await timed(async () => {
    let found = 0;
    for (let queueId = 0; queueId < queues; queueId++) found += await readQueue(store, queueId);
    if (found !== count) throw new Error(`${found} of ${count} were read`);
  });
  await store.close();
  return took;
}

async function readQueue(store: MessageStore, queueId: number): Promise<number> {
  for (let from = 0; ; ) {
    const slice = await store.reader.read({ topicGen: TOPIC_GEN, queueId }, { from, max: PAGE });
    if (slice.units.length === 0) return from;
    const places = slice.units.map(({ bodyLogOffset, size }) => ({
      logOffset: bodyLogOffset,
      size,
    }));
    const frames = await readFrames(store.log, places);
    if (frames.some((frame) => !frame)) throw new Error(`A message of queue ${queueId} is damaged`);
    from = slice.firstOffset + slice.units.length;
  }
}

async function fill(): Promise<Took> {
  const broker = await openLocalBroker(dataDir);
  const { topics, messages } = broker.api;
  const retention = { timeMs: null, bytes: null };
  const about = { messageType: "mixed", acks: "leader", description: "" } as const;
  await topics.put("filled", { queues, retention, ...about });
  const took = await timed(async () => {
    for (let at = 0; at < count; at += BATCH) {
      const batch = Array.from({ length: Math.min(BATCH, count - at) }, (_, i) => ({
        id: `m-${at + i}`,
        body: BODY,
      }));
      await messages.publishBatch("filled", batch, { atomic: false });
    }
  });
  await broker.close();
  return took;
}
