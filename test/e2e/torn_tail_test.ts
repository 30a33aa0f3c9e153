/**
 * Data directories as a crash or a bad disk leaves them. What was not known to
 * be synced may be cut, silently and cleanly; what was synced is damage when
 * it is not there any more: told with its range, and never a reason to drop
 * what lies around it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { cpSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { hasTurn, isFull } from "../effort.ts";
import { readAcrossDamage, textsOf } from "./damage.ts";
import { json, text } from "./http.ts";
import { checkpointEnd, type LogFile, newestLog } from "./log_file.ts";
import { type Server, withServerOver, withTempDir } from "./server.ts";
import { client, publish, publishTexts, putTopic, readAll, type Sender } from "./wire.ts";

const TOPIC = "orders";

/** Starts of this many servers go on at once. */
const LANES = 2;

interface Readiness {
  /** Log offsets; 64-bit numbers are text in JSON. */
  readonly damaged: readonly { readonly from: string; readonly to: string }[];
}

describe("a log whose last frame is cut", () => {
  it("starts clean, wherever it is cut", { timeout: 300_000 }, () =>
    withTempDir(async (dir) => {
      const { dataDir, log } = await tornByKill(dir);
      const last = log.frames.at(-1);
      assert(last);
      // Each is a start of the server, so every third is dealt out; the whole frame is on all runtimes.
      // (What the log itself makes of every cut, storage/recovery_test.ts says on each.)
      const cuts = Array.from({ length: last.end - last.at + 1 }, (_, index) => last.at + index)
        .reverse()
        .filter((_, index) => index === 0 || isFull || (index % 3 === 0 && hasTurn(index / 3)));
      await inLanes(cuts, async (cut) => {
        const copy = join(dir, `cut-${cut}`);
        cpSync(dataDir, copy, { recursive: true });
        cutLog({ ...log, path: log.path.replace(dataDir, copy) }, cut);
        await withServerOver({ dataDir: copy }, async (server) => {
          const expected = cut === last.end ? ["first", "second", "z"] : ["first", "second"];
          const sender = client(server.port);
          assert.deepEqual(textsOf(await readAll(sender, TOPIC)), expected, `cut at ${cut}`);
          assert.deepEqual((await readiness(sender)).damaged, [], `cut at ${cut}`);
          const next = await publish(sender, TOPIC, { body: "next" });
          assert.equal(next.queueOffset, String(expected.length), `cut at ${cut}`);
        });
      });
    }),
  );
});

describe("a log that misses bytes the checkpoint says were synced", () => {
  it("is reported, and the rest is served", () =>
    withTempDir(async (dir) => {
      const dataDir = join(dir, "data");
      await withServerOver({ dataDir }, async (server) => {
        await fill(client(server.port));
        assert.deepEqual(await server.kill("SIGTERM"), { code: 0, signal: null });
      });
      const log = newestLog(dataDir);
      const cut = log.bytes.indexOf("body-150-");
      assert(cut > 0 && checkpointEnd(dataDir) > log.logOffset(cut), "the cut bytes were synced");
      truncateSync(log.path, cut);
      await withServerOver({ dataDir }, async (server) => {
        const sender = client(server.port);
        const { damaged } = await readiness(sender);
        assertCovers(damaged, log.logOffset(cut));
        assertLogged(server);
        const { texts } = await readAcrossDamage(sender, TOPIC);
        assert.deepEqual(texts.slice(0, 150), bodies.slice(0, 150));
        const added = await publish(sender, TOPIC, { body: "afterwards" });
        assert((await readAcrossDamage(sender, TOPIC)).texts.includes("afterwards"), added.id);
      });
    }));
});

describe("a flipped bit in the middle of synced data", () => {
  const places: [name: string, where: (log: LogFile) => number][] = [
    ["in a body", (log) => log.bytes.indexOf("body-77-")],
    ["in the size of a frame", (log) => frameAround(log, log.bytes.indexOf("body-77-")) + 2],
  ];
  for (const [name, where] of places) {
    it(`${name} is reported with its range, and what lies behind it is read`, () =>
      withTempDir(async (dir) => {
        const dataDir = join(dir, "data");
        await withServerOver({ dataDir }, (server) => fill(client(server.port)));
        const log = newestLog(dataDir);
        const at = where(log);
        assert(at > 0);
        log.bytes[at] = (log.bytes[at] as number) ^ 0x04;
        writeFileSync(log.path, log.bytes);
        await withServerOver({ dataDir }, async (server) => {
          const sender = client(server.port);
          const { damaged } = await readiness(sender);
          assertCovers(damaged, log.logOffset(at));
          assertLogged(server);
          const { texts, holes, messages } = await readAcrossDamage(sender, TOPIC);
          assert.deepEqual(texts, bodies.toSpliced(77, 1));
          assert(holes.length > 0, "a reader is told that something is missing");
          const offsets = messages.map((message) => Number(message.queueOffset));
          assert.deepEqual(offsets, [...bodies.keys()].toSpliced(77, 1), "nothing is renumbered");
          const added = await publish(sender, TOPIC, { body: "afterwards" });
          assert.equal(added.queueOffset, String(bodies.length));
        });
        await withServerOver({ dataDir }, async (server) => {
          const { texts } = await readAcrossDamage(client(server.port), TOPIC);
          assert.deepEqual(texts, [...bodies.toSpliced(77, 1), "afterwards"], "after a restart");
        });
      }));
  }
});

const bodies = Array.from({ length: 200 }, (_, index) => `body-${index}-${"x".repeat(40)}`);

/** A log killed right behind its third message, which no checkpoint covers. */
async function tornByKill(dir: string): Promise<{ dataDir: string; log: LogFile }> {
  for (let round = 0; round < 20; round++) {
    const dataDir = join(dir, `data-${round}`);
    await withServerOver({ dataDir }, async ({ port }) => {
      const sender = client(port);
      await putTopic(sender, TOPIC, { queues: 1 });
      for (const body of ["first", "second"]) await publish(sender, TOPIC, { body });
      await publish(sender, TOPIC, { body: "z", headers: { "Message-Id": "a" } });
    });
    const log = newestLog(dataDir);
    if (checkpointEnd(dataDir) <= log.logOffset(log.frames.at(-1)?.at ?? 0)) {
      return { dataDir, log };
    }
  }
  return assert.fail("the checkpoint was ahead of the last frame in every round");
}

/** As a power cut leaves it, every other time as a file system that lost the length would. */
function cutLog(log: LogFile, cut: number): void {
  if (cut % 2 === 0) truncateSync(log.path, cut);
  else writeFileSync(log.path, Buffer.from(log.bytes).fill(0, cut));
}

/** Published in several requests, so that later frames vouch for earlier ones. */
async function fill(sender: Sender): Promise<void> {
  await putTopic(sender, TOPIC, { queues: 1 });
  for (let at = 0; at < bodies.length; at += 10) {
    await publishTexts(sender, TOPIC, bodies.slice(at, at + 10));
  }
}

function frameAround(log: LogFile, position: number): number {
  const frame = log.frames.find(({ at, end }) => at <= position && position < end);
  assert(frame);
  return frame.at;
}

async function readiness(sender: Sender): Promise<Readiness> {
  const answer = await sender.request({ path: "/readyz" });
  assert.equal(answer.status, 200, text(answer));
  return json(answer) as Readiness;
}

function assertCovers(damaged: Readiness["damaged"], logOffset: number): void {
  assert.equal(damaged.length, 1, JSON.stringify(damaged));
  const [range] = damaged;
  assert(range);
  const covers = Number(range.from) <= logOffset && logOffset < Number(range.to);
  assert(covers, `${logOffset} is in the range ${range.from} to ${range.to}`);
}

function assertLogged(server: Server): void {
  assert.match(server.output(), /damage/i);
}

async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const lane = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}
