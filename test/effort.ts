/**
 * How much of a long proof runs on which runtime.
 *
 * A history that is drawn from a seed is a pure function of it, the same on every
 * runtime: recorded traces hold all three to that (sim/traces_test.ts). To go
 * through each on all of them would prove one thing three times, so they are dealt
 * out, each to one runtime, by how fast those are:
 *
 *   place, modulo 10   0    1     2    3    4     5    6     7    8     9
 *   goes to            bun  deno  bun  bun  deno  bun  node  bun  deno  bun
 *
 * What cannot be dealt out, as one long walk, is whole on Bun and a part as long
 * on the others. A suite over one more variant of the same thing runs on the runtimes
 * of first rank, Bun and Deno, or on Bun alone: sockets, files and processes are what
 * runtimes differ in, and those are met on each.
 * Every file runs on Bun and Deno; only how much of it is told here. (Which run on Node:
 * deploy/tests.mjs.)
 *
 * EFFORT=full in the environment: all of it, on each. SEED=42: that seed alone.
 *
 * @module
 */

import process from "node:process";
import { currentRuntime } from "./e2e/server.ts";

const DEALT = ["bun", "deno", "bun", "bun", "deno", "bun", "node", "bun", "deno", "bun"];
const SHARE = DEALT.filter((runtime) => runtime === currentRuntime).length / DEALT.length;
const { EFFORT, SEED } = process.env;

/** All of it was asked for. */
export const isFull = EFFORT === "full";

/** Whether what cannot be dealt out is whole here. */
export const isWhole = isFull || currentRuntime === "bun";

/** Whether one more variant of what runs on each is worth its time here: on Bun and Deno. */
export const isFirstRank = isFull || currentRuntime !== "node";

/** For variants that are dealt out: what Bun has not. */
export const isOnDeno = isFull || currentRuntime === "deno";

/** For a test that needs most of it: `it(name, { skip: sampled }, …)`. */
export const sampled = isWhole ? false : "a part of the histories need not meet everything";

/** Whether the one at `index`, of many that are alike, has its turn here. */
export function hasTurn(index: number): boolean {
  return isFull || DEALT[index % DEALT.length] === currentRuntime;
}

/** How often, of `whole` times; at least once. */
export function runs(whole: number): number {
  return isWhole ? whole : Math.ceil(whole * SHARE);
}

/** Those of the seeds 1 to `last` that have their turn here. */
export function seeds(last: number): readonly number[] {
  if (SEED !== undefined) return [Number(SEED)];
  return Array.from({ length: last }, (_, index) => index + 1).filter((seed) => hasTurn(seed - 1));
}

interface SeedGroup {
  readonly title: string;
  readonly seeds: readonly number[];
}

/** The same, so many to a test; each group with the words for its title. */
export function seedGroups(last: number, perTest: number): readonly SeedGroup[] {
  const all = seeds(last);
  return Array.from({ length: Math.ceil(all.length / perTest) }, (_, index) => {
    const some = all.slice(index * perTest, (index + 1) * perTest);
    return { title: `${some.length} seeds from ${some[0]} to ${some.at(-1)}`, seeds: some };
  });
}
