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
  storage: ["b2383781", "d3e01eb0", "81ae9221", "3571bfbe", "1a6a3a41", "8d451f0c"],
  broker: ["cee1395d", "56437046", "d0fdef13", "f6d08915", "1f7e6a12", "4cf7caab"],
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
