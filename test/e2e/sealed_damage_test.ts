/**
 * A bit that flips in a segment sealed long ago: no start walks over it again,
 * so it is met by the scrubber, or by the first who reads there. That reader is told
 * what is missing and how to go on, and everything else is there, in its place; and
 * whoever met it, the node is degraded from then on and tells the range.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { readAcrossDamage } from "./damage.ts";
import { EventStream } from "./event_stream.ts";
import { newestLog } from "./log_file.ts";
import { until, withServerOver, withTempDir } from "./server.ts";
import { client, publishTexts, putTopic, type Sender, type WireMessage } from "./wire.ts";

const TOPIC = "orders";
const DAMAGED = 777;
const BATCH = 250;
const ENV = { TIDEGATE_SEGMENT_BYTES: "32MiB" };
const FILLING = "x".repeat(16_000);

describe("a flipped bit in a sealed segment", () => {
  it("costs its reader that message and nothing else", { timeout: 60_000 }, () =>
    withTempDir(async (dataDir) => {
      const count = await withServerOver({ dataDir, env: ENV }, async ({ port }) => {
        const published = await fillPastOneSegment(client(port), dataDir);
        await until(() => logFiles(dataDir, ".idx").length > 0, "the first segment is sealed");
        return published;
      });
      flipABit(dataDir);
      const scrubbing = { ...ENV, TIDEGATE_SCRUB_INTERVAL: "1s" };
      const found = await withServerOver({ dataDir, env: scrubbing }, async ({ port }) => {
        await until(
          async () => (await readiness(port)).status === "degraded",
          "it is found",
          30_000,
        );
        return readiness(port);
      });
      assert.equal(found.damaged.length, 1);
      await withServerOver({ dataDir, env: ENV }, async ({ port }) => {
        const { texts, messages, holes } = await readAcrossDamage(client(port), TOPIC);
        const expected = Array.from({ length: count }, (_, index) => index).toSpliced(DAMAGED, 1);
        assert.deepEqual(texts.map(numberOf), expected);
        assert.deepEqual(
          messages.map((message) => Number(message.queueOffset)),
          expected,
        );
        assert.deepEqual(
          holes.map((hole) => hole.queueOffset),
          [String(DAMAGED)],
        );
        assert.deepEqual(await streamed(port, count), { seen: expected, gaps: 1 });
        assert.deepEqual(await readiness(port), found, "the reader's find is the scrubber's");
      });
    }),
  );
});

interface Readiness {
  readonly status: string;
  readonly damaged: readonly { readonly from: string; readonly to: string }[];
}

async function readiness(port: number): Promise<Readiness> {
  const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
  return (await answer.json()) as Readiness;
}

/** The same over SSE: the stream tells the gap and goes on by itself. */
async function streamed(port: number, count: number): Promise<{ seen: number[]; gaps: number }> {
  const stream = await EventStream.open(port, `/v1/topics/${TOPIC}/messages?after=earliest`);
  const seen: number[] = [];
  while (seen.at(-1) !== count - 1) {
    const event = await stream.next((one) => one.event === "message");
    assert(event, "the stream goes on");
    seen.push(numberOf((JSON.parse(event.data) as WireMessage).text ?? ""));
  }
  stream.close();
  return { seen, gaps: stream.events.filter((one) => one.event === "gap").length };
}

const bodyOf = (index: number) => `body-${index}-${FILLING}`;
const numberOf = (body: string) => Number(/^body-(\d+)-/.exec(body)?.[1]);

function logFiles(dataDir: string, extension: string): string[] {
  const dir = join(dataDir, "log");
  const names = readdirSync(dir).filter((name) => name.endsWith(extension));
  return names.sort().map((name) => join(dir, name));
}

async function fillPastOneSegment(sender: Sender, dataDir: string): Promise<number> {
  await putTopic(sender, TOPIC, { queues: 1 });
  let published = 0;
  while (logFiles(dataDir, ".log").length < 2) {
    const from = published;
    const bodies = Array.from({ length: BATCH }, (_, index) => bodyOf(from + index));
    await publishTexts(sender, TOPIC, bodies);
    published += BATCH;
  }
  return published;
}

function flipABit(dataDir: string): void {
  const [path] = logFiles(dataDir, ".log");
  assert(path && path !== newestLog(dataDir).path, "it is not the active segment");
  const bytes = readFileSync(path);
  const at = bytes.indexOf(`body-${DAMAGED}-`);
  assert(at > 0);
  bytes[at] = (bytes[at] as number) ^ 0x04;
  writeFileSync(path, bytes);
}
