/**
 * Producers' sequences beside a plain model, through snapshots; and what is
 * decided about a place in one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Core } from "../../src/broker/core.ts";
import { BrokerFold } from "../../src/broker/fold.ts";
import { parseKey } from "../../src/broker/entities.ts";
import { IDLE_MS, ProducerTable, UNITS_KEPT } from "../../src/broker/producers.ts";
import { judgeSequence, PRODUCERS_MAX } from "../../src/broker/sequenced.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const scopeOf = (id: string, key?: string) => ({ topicGen: 1, id, key });

/** Units of one scope, each some messages; time passes before each. */
const anyUnits = fc.array(
  fc.record(
    {
      id: fc.constantFrom("p", "q"),
      key: fc.constantFrom(undefined, "k"),
      newEpoch: fc.boolean(),
      count: fc.integer({ min: 1, max: 4 }),
      afterMs: fc.constantFrom(0, 1, DAY_MS, 4 * DAY_MS, 8 * DAY_MS),
      snapshot: fc.boolean(),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 40 },
);

interface Modelled {
  epoch: number;
  nextSeq: number;
  lastAt: number;
  units: { firstSeq: number; count: number; logOffset: number }[];
}

/** What a snapshot and the changes since make of the table. */
function restored(entries: ReadonlyMap<string, readonly [Uint8Array, Uint8Array]>): ProducerTable {
  const table = new ProducerTable();
  for (const [key, value] of entries.values()) table.restore(parseKey(key).generations, value);
  return table;
}

function saveInto(
  entries: Map<string, readonly [Uint8Array, Uint8Array]>,
  table: ProducerTable,
): void {
  for (const [key, value] of table.takeChanges()) {
    if (value) entries.set(key.join(), [key, value.slice()]);
    else entries.delete(key.join());
  }
}

describe("ProducerTable", () => {
  it("knows what a Map knows, also when it comes from a snapshot", () => {
    fc.assert(
      fc.property(anyUnits, (units) => {
        const model = new Map<string, Modelled>();
        const entries = new Map<string, readonly [Uint8Array, Uint8Array]>();
        let table = new ProducerTable();
        let [now, logOffset] = [1000, 64];
        for (const { id, key, newEpoch, count, afterMs, snapshot } of units) {
          now += afterMs;
          for (const [name, { lastAt }] of model) if (lastAt + IDLE_MS <= now) model.delete(name);
          const name = `${id} ${key}`;
          const known = model.get(name) ?? { epoch: 0, nextSeq: 0, lastAt: now, units: [] };
          if (newEpoch) Object.assign(known, { epoch: known.epoch + 1, nextSeq: 0, units: [] });
          known.units = [...known.units, { firstSeq: known.nextSeq, count, logOffset }];
          known.units = known.units.slice(-UNITS_KEPT);
          for (let i = 0; i < count; i++) {
            const producer = { id, epoch: known.epoch, seq: known.nextSeq++ };
            const place = { logOffset, storedAt: now, continued: i < count - 1 };
            table.applied({ topicGen: 1, key, producer }, place);
            logOffset += 100;
          }
          known.lastAt = now;
          model.set(name, known);
          if (snapshot) {
            saveInto(entries, table);
            table = restored(entries);
          }
          assert.equal(table.size, model.size);
          for (const [one, { epoch, nextSeq, lastAt, units: kept }] of model) {
            const [oneId, oneKey] = one.split(" ") as [string, string];
            const found = table.find(
              scopeOf(oneId, oneKey === "undefined" ? undefined : oneKey),
              now,
            );
            assert(found);
            assert.deepEqual([found.epoch, found.nextSeq, found.lastAt], [epoch, nextSeq, lastAt]);
            assert.deepEqual(found.units, kept);
          }
        }
        saveInto(entries, table);
        assert.equal(entries.size, model.size);
      }),
    );
  });

  it("knows nobody who is idle, before it has forgotten them", () => {
    const table = new ProducerTable();
    const producer = { id: "p", epoch: 0, seq: 0 };
    table.applied({ topicGen: 1, key: undefined, producer }, { logOffset: 64, storedAt: 5 });
    assert(table.find(scopeOf("p"), 4 + IDLE_MS));
    assert.equal(table.find(scopeOf("p"), 5 + IDLE_MS), undefined);
    assert.equal(table.size, 1);
  });

  it("forgets those of a topic that went", () => {
    const table = new ProducerTable();
    for (const topicGen of [1, 2]) {
      const producer = { id: "p", epoch: 0, seq: 0 };
      table.applied({ topicGen, key: undefined, producer }, { logOffset: topicGen, storedAt: 5 });
    }
    table.removeTopic(1);
    assert.equal(table.size, 1);
    assert.deepEqual(
      [...table.takeChanges()].map(([key, value]) => [
        parseKey(key).generations[0],
        value === undefined,
      ]),
      [
        [1, true],
        [2, false],
      ],
    );
  });
});

describe("judgeSequence()", () => {
  it("takes no more producers than it may remember, and goes on with those it does", () => {
    const fold = new BrokerFold();
    const core = { fold } as Core;
    for (let i = 0; i < PRODUCERS_MAX; i++) {
      const producer = { id: `p${i}`, epoch: 0, seq: 0 };
      const record = { topicGen: 1, key: undefined, producer };
      fold.producers.applied(record, { logOffset: i, storedAt: 5 });
    }
    const judge = (id: string, seq: number, now: number) =>
      judgeSequence(core, { place: { scope: scopeOf(id), epoch: 0, seq, count: 1 }, now });
    assert.equal(judge("p7", 1, 6), undefined);
    assert.throws(() => judge("new", 0, 6), { code: "overloaded" });
    assert.equal(judge("p7", 0, 6 + IDLE_MS), undefined);
  });
});
