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
  storage: ["4f9e04b9", "52c48490", "26b5e267", "4dd8aa7c", "3c171683", "efb84a45"],
  broker: ["ff7df1c2", "50c8d9ac", "53a47c2c", "970b8ac5", "f5f0e999", "fa45e9af"],
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
