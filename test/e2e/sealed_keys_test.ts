/**
 * Idempotency keys of segments that were sealed since: on the real disk, with
 * the jobs in their threads, through a kill, and with a run that lost a bit or
 * is gone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { json } from "./http.ts";
import { until, withServerOver, withTempDir } from "./server.ts";
import {
  call,
  client,
  JSON_TYPE,
  post,
  putTopic,
  type Sender,
  type WirePublished,
} from "./wire.ts";

const TOPIC = "orders";
const ENV = { TIDEGATE_SEGMENT_BYTES: "32MiB" };
const BATCH = 400;
const FILLING = "x".repeat(16_000);

type Results = readonly (WirePublished & { readonly replayed?: true })[];

async function publish(sender: Sender, batch: number): Promise<Results> {
  const messages = Array.from({ length: BATCH }, (_, i) => ({ text: `${batch}-${i}-${FILLING}` }));
  const headers = { ...JSON_TYPE, "Idempotency-Key": `batch-${batch}` };
  const request = post(`/v1/topics/${TOPIC}/messages/batch`, { messages }, { headers });
  return (json(await call(sender, request, 200)) as { results: Results }).results;
}

function logsIn(dataDir: string): number {
  return readdirSync(join(dataDir, "log")).filter((name) => name.endsWith(".log")).length;
}

function runsIn(dataDir: string): string[] {
  const dir = join(dataDir, "dedupe");
  const names = readdirSync(dir).filter((name) => name.endsWith(".run"));
  return names.map((name) => join(dir, name));
}

function flipABit(path: string): void {
  const bytes = readFileSync(path);
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] as number) ^ 0x04;
  writeFileSync(path, bytes);
}

describe("the keys of sealed segments", () => {
  it("are known for good", { timeout: 120_000 }, () =>
    withTempDir(async (dataDir) => {
      const options = { dataDir, env: ENV };
      const firsts = await withServerOver(options, async ({ port }) => {
        const published: Results[] = [];
        await putTopic(client(port), TOPIC, { queues: 1 });
        while (logsIn(dataDir) < 4) published.push(await publish(client(port), published.length));
        await until(() => runsIn(dataDir).length === 1, "the runs are merged");
        return published;
      }); // ends with SIGKILL, as those that follow

      const meanwhile = [
        () => {},
        () => flipABit(runsIn(dataDir)[0] as string),
        () => rmSync(runsIn(dataDir)[0] as string),
      ];
      for (const happens of meanwhile) {
        happens();
        await withServerOver(options, async ({ port }) => {
          for (const [batch, first] of firsts.entries()) {
            const expected = first.map((one) => ({ ...one, replayed: true }));
            assert.deepEqual(await publish(client(port), batch), expected);
          }
          const answer = await call(client(port), { path: `/v1/topics/${TOPIC}` }, 200);
          const { endOffsets } = json(answer) as { endOffsets: string[] };
          assert.deepEqual(endOffsets, [String(firsts.length * BATCH)]);
        });
      }
    }),
  );
});
