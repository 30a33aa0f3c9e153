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
  storage: ["6400bc90", "bbe60964", "c76a6f35", "ff34dfed", "d1554fc4", "6959bb7d"],
  broker: ["81620f90", "dde3a31d", "1ae6508c", "18eb2494", "409bbfb7", "4d1efbd4"],
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
