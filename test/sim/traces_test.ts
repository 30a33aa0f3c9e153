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
  storage: ["b2383781", "d3e01eb0", "81ae9221", "9cc60c2", "41df3d8f", "8d451f0c"],
  broker: ["cee1395d", "8617c735", "dddd847a", "63128875", "1f7e6a12", "c77951c6"],
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
