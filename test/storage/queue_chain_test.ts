/**
 * A consume queue over thousands of segments: any place in it is found, by
 * offset, log position or time, in few steps, wherever its units lie.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { viewOf } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { ConsumeQueues } from "../../storage/consume_queues.ts";
import { FLAG_DEFERRED, FRAME_HEADER_SIZE, Frame, sealFrame } from "../../storage/frame.ts";
import { QueueReader } from "../../storage/queue_reader.ts";
import { KINDS, type KindName, type RecordOf } from "../../storage/records/mod.ts";
import type { RecordKind } from "../../storage/records/kind.ts";
import { NO_SECTION } from "../../storage/hash_section.ts";
import { sidecarPath } from "../../storage/segment.ts";
import { encodeSidecar } from "../../storage/sidecar.ts";
import { SidecarFile } from "../../storage/sidecar_file.ts";
import type { Sidecars } from "../../storage/sidecars.ts";
import { draft } from "./fixture.ts";

interface Row {
  readonly queueOffset: number;
  readonly logOffset: number;
  readonly storedAt: number;
  readonly base: number;
}

function frameOf<K extends KindName>(
  kind: K,
  record: RecordOf<K>,
  place: { readonly logOffset: number; readonly storedAt: number; readonly flags?: number },
): Frame {
  const { id, encode } = KINDS[kind] as unknown as RecordKind<unknown>;
  const payload = encode(record);
  const bytes = new Uint8Array(FRAME_HEADER_SIZE + payload.length);
  bytes.set(payload, FRAME_HEADER_SIZE);
  const target = { bytes, view: viewOf(bytes), at: 0 };
  const header = { kind: id, flags: 0, epoch: 1, prevCrc: 0, confirmOffset: 0, ...place };
  sealFrame(target, { ...header, size: bytes.length, crc32 });
  return new Frame(target, 0);
}

function messageFrame(
  parts: { queueId: number; queueOffset: number },
  place: { logOffset: number; storedAt: number; flags?: number },
): Frame {
  const { envelope, attributes } = draft(parts);
  const body = new Uint8Array(0);
  const message = { ...envelope, ...attributes, index: [], properties: [], body };
  return frameOf("message", message, place);
}

/** Queue 0 is in every segment, queue 1 in every hundredth. */
class History implements Sidecars {
  readonly queues = new ConsumeQueues();
  readonly reader = new QueueReader(this.queues, this);
  readonly rows: [Row[], Row[]] = [[], []];
  readonly #disk = new MemoryDisk();
  readonly #sidecars = new Map<number, SidecarFile>();
  #end = 2 ** 33;
  #now = 1_700_000_000_000;
  /** Looks at sidecars. */
  steps = 0;

  at(base: number): SidecarFile | undefined {
    this.steps++;
    return this.#sidecars.get(base);
  }

  before(base: number): number | undefined {
    const older = [...this.#sidecars.keys()].filter((one) => one < base);
    return older.length > 0 ? Math.max(...older) : undefined;
  }

  async mend(): Promise<undefined> {}

  /** Damage took its units, and what was built again has none of them. */
  lose(base: number): void {
    this.#sidecars.delete(base);
  }

  addSegment(ordinal: number): number {
    const base = this.#end;
    for (let i = 0; i < 1 + (ordinal % 5); i++) this.#append(0, base);
    if (ordinal % 100 === 0) this.#append(1, base);
    return base;
  }

  #append(queueId: 0 | 1, base: number): void {
    const rows = this.rows[queueId];
    const place = { logOffset: this.#end, storedAt: this.#now };
    const frame = messageFrame({ queueId, queueOffset: rows.length }, place);
    this.queues.apply(frame, base);
    rows.push({ queueOffset: rows.length, base, ...place });
    this.#end += frame.size;
    if (rows.length % 3 === 0) this.#now += 1000; // some share a moment
  }

  async seal(base: number): Promise<void> {
    const runs = this.queues.runsOf(base).map(({ queue, run }) => ({ ...queue, ...run }));
    const sections = { ids: NO_SECTION, keys: NO_SECTION, ops: NO_SECTION };
    const counts = { keyedCount: 0, heldCount: 0, timersUntil: 0, bodiesFrom: base };
    const content = { base, end: base + 1, runs, sections, ...counts };
    const path = sidecarPath(base);
    (await this.#disk.open(path, { create: true })).write(encodeSidecar(content, crc32), 0);
    const sidecar = await SidecarFile.open(this.#disk, content, crc32);
    assert(sidecar);
    this.#sidecars.set(base, sidecar);
    this.queues.release(base);
  }
}

const SEGMENTS = 3000;

interface Built {
  readonly history: History;
  readonly bases: readonly number[];
}

let built: Promise<Built> | undefined;

/** Built once, by the first test that asks. */
function build(): Promise<Built> {
  built ??= (async () => {
    const history = new History();
    const bases: number[] = [];
    for (let ordinal = 0; ordinal < SEGMENTS; ordinal++) bases.push(history.addSegment(ordinal));
    // The sidecar of one old segment could not be built: memory answers for it.
    for (const [i, base] of bases.entries()) {
      if (i !== 1700 && i < SEGMENTS - 3) await history.seal(base);
    }
    return { history, bases };
  })();
  return built;
}

describe("a consume queue over 3000 segments", () => {
  const stepsMax = SEGMENTS / 256 + 16 + 16 + 2;

  for (const queueId of [0, 1] as const) {
    const queue = { topicGen: 1, queueId };
    const open = async () => {
      const { history, bases } = await build();
      const rows = history.rows[queueId];
      const anyRow = fc.nat({ max: rows.length - 1 }).map((i) => rows[i] as Row);
      return { history, bases, rows, anyRow };
    };

    it(`gives queue ${queueId} from any offset on, in few steps`, async () => {
      const { history, rows, anyRow } = await open();
      await fc.assert(
        fc.asyncProperty(anyRow, fc.integer({ min: 1, max: 9 }), async (row, max) => {
          history.steps = 0;
          const slice = await history.reader.read(queue, { from: row.queueOffset, max });
          assert(history.steps <= stepsMax, `${history.steps} steps`);
          assert.equal(slice.firstOffset, row.queueOffset);
          assert(slice.units.length >= 1 && slice.units.length <= max);
          assert.deepEqual(
            slice.units.map((unit) => [unit.visibleLogOffset, unit.bodyLogOffset, unit.visibleAt]),
            rows
              .slice(row.queueOffset, row.queueOffset + slice.units.length)
              .map(({ logOffset, storedAt }) => [logOffset, logOffset, storedAt]),
          );
        }),
      );
    });

    it(`gives queue ${queueId} whole, read from the beginning`, async () => {
      const { history, rows } = await open();
      const read: number[] = [];
      while (read.length < rows.length) {
        const slice = await history.reader.read(queue, { from: read.length, max: 100 });
        read.push(...slice.units.map((unit) => unit.visibleLogOffset));
      }
      assert.deepEqual(
        read,
        rows.map(({ logOffset }) => logOffset),
      );
    });

    it(`finds queue ${queueId} by log position, at a unit, before and behind it`, async () => {
      const { history, bases, rows, anyRow } = await open();
      await fc.assert(
        fc.asyncProperty(anyRow, fc.integer({ min: -1, max: 1 }), async (row, by) => {
          const logOffset = row.logOffset + by;
          const base = bases.findLast((one) => one <= logOffset) ?? 0;
          history.steps = 0;
          const found = await history.reader.seek(queue, { by: "log", logOffset, base });
          assert(history.steps <= stepsMax + 16, `${history.steps} steps`);
          const expected = rows.findIndex((one) => one.logOffset >= logOffset);
          assert.equal(found, expected === -1 ? rows.length : expected);
        }),
      );
    });

    it(`finds queue ${queueId} by time, at a unit, before and behind it`, async () => {
      const { history, bases, rows, anyRow } = await open();
      await fc.assert(
        fc.asyncProperty(anyRow, fc.integer({ min: -1, max: 1 }), async (row, by) => {
          const time = row.storedAt + by;
          // As the caller does: the newest segment that begins before that time.
          const firstAt = (base: number) =>
            [...history.rows[0], ...history.rows[1]].find((one) => one.base === base)?.storedAt ??
            0;
          let [low, high] = [0, bases.length - 1];
          while (low < high) {
            const middle = (low + high + 1) >> 1;
            if (firstAt(bases[middle] as number) < time) low = middle;
            else high = middle - 1;
          }
          const base = bases[low] as number;
          const found = await history.reader.seek(queue, { by: "time", time, base });
          const expected = rows.findIndex((one) => one.storedAt >= time);
          assert.equal(found, expected === -1 ? rows.length : expected);
        }),
        { numRuns: 50 },
      );
    });
  }

  it("knows its ends", async () => {
    const { history } = await build();
    const queue = { topicGen: 1, queueId: 0 };
    const end = history.rows[0].length;
    const read = (from: number) => history.reader.read(queue, { from, max: 5 });
    assert.deepEqual(await read(end), { firstOffset: end, units: [] });
    assert.deepEqual(await read(end + 5), { firstOffset: end + 5, units: [] });
    const seek = (offset: number) => history.reader.seek(queue, { by: "offset", offset });
    assert.deepEqual([await seek(-5), await seek(3), await seek(end + 9)], [0, 3, end]);
    const nobody = { topicGen: 9, queueId: 0 };
    assert.deepEqual(await history.reader.read(nobody, { from: 3, max: 5 }), {
      firstOffset: 3,
      units: [],
    });
  });

  it("costs no memory per sealed segment", async () => {
    const { history, bases } = await build();
    const queue = history.queues.find(1, 0);
    assert.deepEqual(
      queue?.runs.map(({ base }) => base),
      [bases[1700], ...bases.slice(-3)],
    );
  });
});

describe("ConsumeQueues", () => {
  const place = (logOffset: number, flags = 0) => ({ logOffset, storedAt: 5, flags });

  it("lists messages when they are visible, and deferred ones when they are revealed", () => {
    const queues = new ConsumeQueues();
    queues.apply(messageFrame({ queueId: 0, queueOffset: 0 }, place(0)), 0);
    queues.apply(messageFrame({ queueId: 0, queueOffset: -1 }, place(100, FLAG_DEFERRED)), 0);
    queues.apply(messageFrame({ queueId: 0, queueOffset: 1 }, place(200)), 0);
    assert.equal(queues.find(1, 0)?.end, 2);
    const item = { bodyLogOffset: 100, size: 99, topicGen: 1, queueId: 0, queueOffset: 2 };
    const items = [{ ...item, keyHash: 7, tagHash: 8 }];
    queues.apply(frameOf("reveal", { cause: "due", txnId: undefined, items }, place(300)), 0);
    assert.equal(queues.find(1, 0)?.end, 3);
  });

  it("keeps the places of messages that damage took", () => {
    const queues = new ConsumeQueues();
    queues.apply(messageFrame({ queueId: 0, queueOffset: 0 }, place(0)), 0);
    queues.apply(messageFrame({ queueId: 0, queueOffset: 3 }, place(300)), 0);
    assert.equal(queues.find(1, 0)?.end, 4);
    assert.equal(queues.find(1, 0)?.runs[0]?.units.count, 4);
  });

  it("ends at once when a queueOffset is given twice", () => {
    const queues = new ConsumeQueues();
    queues.apply(messageFrame({ queueId: 0, queueOffset: 5 }, place(0)), 0);
    const again = messageFrame({ queueId: 0, queueOffset: 5 }, place(100));
    assert.throws(() => queues.apply(again, 0), /a queueOffset is given once/);
  });

  it("begins a queue where its first message is: what was before is gone", () => {
    const queues = new ConsumeQueues();
    queues.apply(messageFrame({ queueId: 0, queueOffset: 40 }, place(0)), 0);
    assert.deepEqual([queues.find(1, 0)?.start, queues.find(1, 0)?.end], [40, 41]);
  });

  it("names each queue that got messages once", () => {
    const queues = new ConsumeQueues();
    for (const [i, queueId] of [0, 1, 0, 0].entries()) {
      const queueOffset = queues.find(1, queueId)?.end ?? 0;
      queues.apply(messageFrame({ queueId, queueOffset }, place(i * 100)), 0);
    }
    assert.deepEqual(
      queues.takeTouched().map((queue) => queue.queueId),
      [0, 1],
    );
    assert.deepEqual(queues.takeTouched(), []);
  });

  it("forgets the queues of a topic that was dropped, and says so once", () => {
    const queues = new ConsumeQueues();
    queues.apply(messageFrame({ queueId: 0, queueOffset: 0 }, place(0)), 0);
    queues.apply(messageFrame({ queueId: 3, queueOffset: 0 }, place(100)), 0);
    queues.apply(frameOf("drop", { entity: "group", generation: 1, name: "g" }, place(200)), 0);
    assert(queues.find(1, 0), "a group of the same number is not the topic");
    queues.apply(frameOf("drop", { entity: "topic", generation: 1, name: "t" }, place(300)), 0);
    assert.equal(queues.find(1, 0), undefined);
    assert.deepEqual([...queues.takeMarks(1000)], []);
    const dropped = queues.takeDropped().map(({ topicGen, queueId }) => [topicGen, queueId]);
    assert.deepEqual(dropped, [
      [1, 0],
      [1, 3],
    ]);
    assert.deepEqual(queues.takeDropped(), []);
  });

  it("marks each queue as it stood at the boundary, until it is marked for good", () => {
    const queues = new ConsumeQueues();
    queues.apply(messageFrame({ queueId: 0, queueOffset: 0 }, place(0)), 0);
    queues.apply(messageFrame({ queueId: 1, queueOffset: 0 }, place(100)), 0);
    queues.apply(messageFrame({ queueId: 0, queueOffset: 1 }, place(1000)), 1000);
    const ends = (base: number) =>
      [...queues.takeMarks(base)].map(({ queueId, end, links }) => [queueId, end, links.ordinal]);
    assert.deepEqual(ends(1000), [
      [0, 1, 1],
      [1, 1, 1],
    ]);
    assert.deepEqual(ends(2000), [[0, 2, 2]]);
    assert.deepEqual(ends(2000), []);
  });
});

describe("a consume queue that lost a run to damage", () => {
  it("has what is older and what is newer, and steps over the rest", async () => {
    const history = new History();
    const bases = Array.from({ length: 300 }, (_, ordinal) => history.addSegment(ordinal));
    for (const base of bases.slice(0, -2)) await history.seal(base);
    const lost = [bases[0], bases[255], bases[256], bases[297]] as number[];
    for (const base of lost) history.lose(base);
    const queue = { topicGen: 1, queueId: 0 };
    const read: number[] = [];
    for (let from = 0; from < history.rows[0].length; ) {
      const slice = await history.reader.read(queue, { from, max: 100 });
      assert(slice.firstOffset + slice.units.length > from, `stuck at ${from}`);
      for (const [i] of slice.units.entries()) read.push(slice.firstOffset + i);
      from = slice.firstOffset + slice.units.length;
    }
    const kept = history.rows[0].filter(({ base }) => !lost.includes(base));
    assert.deepEqual(
      read,
      kept.map(({ queueOffset }) => queueOffset),
    );
  });

  it("has what is older and still in memory", async () => {
    const history = new History();
    const bases = Array.from({ length: 9 }, (_, ordinal) => history.addSegment(ordinal));
    for (const base of bases.slice(1, -1)) await history.seal(base);
    history.lose(bases[1] as number);
    const slice = await history.reader.read({ topicGen: 1, queueId: 0 }, { from: 0, max: 10 });
    assert.equal(slice.firstOffset, 0);
    assert.equal(
      slice.units.length,
      history.rows[0].filter(({ base }) => base === bases[0]).length,
    );
  });

  it("ends where it ended, when its last run is lost", async () => {
    const history = new History();
    const bases = Array.from({ length: 9 }, (_, ordinal) => history.addSegment(ordinal));
    for (const base of bases) await history.seal(base);
    history.lose(bases.at(-1) as number);
    const end = history.rows[0].length;
    const from = history.rows[0].findIndex(({ base }) => base === bases.at(-1));
    const slice = await history.reader.read({ topicGen: 1, queueId: 0 }, { from, max: 10 });
    assert.deepEqual(slice, { firstOffset: end, units: [], lostFrom: from });
  });
});
