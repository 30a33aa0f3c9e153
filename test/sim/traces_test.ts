/**
 * The same seed is the same history on every runtime: hashes of some, recorded.
 *
 * They change with whatever changes the order of things: then run
 * `npm run sim -- --seed 1 --count 6 --trace`, on two runtimes, and record them
 * anew.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { simulate as simulateBroker } from "./broker_world.ts";
import { simulate as simulateStorage } from "./storage_world.ts";

const TRACES = {
  storage: ["cf27c691", "23f65faa", "5d5e0ba8", "315ab4bb", "7e923269", "b4762db5"],
  broker: ["e8d5415", "33d4cb87", "aa1bece2", "a11a53ef", "48ff9a9", "167464d1"],
} as const;

describe("a seed", () => {
  for (const [world, simulate] of [
    ["storage", simulateStorage],
    ["broker", simulateBroker],
  ] as const) {
    it(`of the ${world} has the trace that was recorded`, { timeout: 60_000 }, async () => {
      const traces: string[] = [];
      for (let seed = 1; seed <= TRACES[world].length; seed++) {
        traces.push((await simulate(seed)).trace.toString(16));
      }
      assert.deepEqual(traces, TRACES[world]);
    });
  }
});
