import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { cutFor, EpochTable } from "../../src/cluster/epoch_table.ts";

const table = () =>
  new EpochTable([
    { epoch: 1, from: 0 },
    { epoch: 3, from: 500 },
    { epoch: 4, from: 730 },
  ]);
const LOG = { start: 0, end: 900 };

describe("EpochTable", () => {
  const floors: [name: string, epoch: number, expected: { epoch: number; end: number }][] = [
    ["of an epoch it has", 3, { epoch: 3, end: 730 }],
    ["of its last epoch", 4, { epoch: 4, end: 900 }],
    ["of a later epoch: its last", 9, { epoch: 4, end: 900 }],
    ["of an epoch it skipped: the one before", 2, { epoch: 1, end: 500 }],
    ["of an epoch before all: none", 0, { epoch: 0, end: 0 }],
  ];
  for (const [name, epoch, expected] of floors) {
    it(`floor() ${name}`, () => assert.deepEqual(table().floor(epoch, LOG), expected));
  }

  it("at() gives the epoch of a frame and its end", () => {
    assert.deepEqual(table().at(0, 900), { epoch: 1, end: 500 });
    assert.deepEqual(table().at(500, 900), { epoch: 3, end: 730 });
    assert.deepEqual(table().at(899, 900), { epoch: 4, end: 900 });
  });

  it("cut() forgets epochs that are gone, and takes another at the same place", () => {
    const cut = table();
    cut.cut(730);
    assert.equal(cut.last, 3);
    cut.add(7, 730);
    assert.deepEqual(cut.floor(5, { start: 0, end: 800 }), { epoch: 3, end: 730 });
  });

  it("trim() keeps the epoch of the frame before the new start", () => {
    const trimmed = table();
    trimmed.trim(500);
    assert.equal(trimmed.floor(1, { start: 500, end: 900 }).epoch, 1);
    trimmed.trim(501);
    assert.equal(trimmed.floor(2, { start: 501, end: 900 }).epoch, 0);
    assert.deepEqual(trimmed.at(501, 900), { epoch: 3, end: 730 });
  });

  it("add() takes no earlier epoch", () => {
    assert.throws(() => table().add(2, 900));
  });
});

/** One frame is one byte here, and named by who wrote it: logs that agree share a prefix. */
interface Log {
  readonly frames: string[];
  readonly epochs: EpochTable;
}

function cut(log: Log, to: number): void {
  log.frames.length = to;
  log.epochs.cut(to);
}

/** Follows `leader` until its own log is a beginning of the leader's; says in how many rounds. */
function follow(log: Log, leader: Log): number {
  for (let rounds = 0; ; rounds++) {
    const place = { start: 0, end: leader.frames.length };
    const proof = leader.epochs.floor(log.epochs.last, place);
    if (proof.epoch === log.epochs.last && log.frames.length <= proof.end) return rounds;
    const to = cutFor(proof, { epochs: log.epochs, start: 0, end: log.frames.length });
    assert(to < log.frames.length, "every round cuts something");
    cut(log, to);
  }
}

describe("cutFor()", () => {
  /** Each step: who leads, how much it appends, who copies how much of it. */
  const step = fc.record({
    leader: fc.nat(2),
    appends: fc.integer({ min: 1, max: 4 }),
    copies: fc.array(fc.record({ node: fc.nat(2), count: fc.nat(6) }), { maxLength: 3 }),
  });

  it("makes any two logs of one history agree, and cuts no more than it must", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const logs: Log[] = [0, 1, 2].map(() => ({ frames: [], epochs: new EpochTable() }));
        for (const [i, { leader, appends, copies }] of steps.entries()) {
          const led = logs[leader] as Log;
          led.epochs.add(i + 1, led.frames.length);
          for (let j = 0; j < appends; j++) led.frames.push(`${i + 1}.${j}`);
          for (const { node, count } of copies) {
            const log = logs[node] as Log;
            if (log === led) continue;
            const before = [...log.frames];
            const rounds = follow(log, led);
            assert(rounds <= i + 2, "one round for each epoch at most");
            const shared = before.findIndex((frame, at) => frame !== led.frames[at]);
            const agreed = shared < 0 ? Math.min(before.length, led.frames.length) : shared;
            assert.equal(log.frames.length, agreed);
            for (let at = agreed; at < Math.min(agreed + count, led.frames.length); at++) {
              log.epochs.add(led.epochs.at(at, led.frames.length)?.epoch ?? 0, at);
              log.frames.push(led.frames[at] as string);
            }
          }
        }
      }),
    );
  });
});
