/**
 * Some hundred histories of a broker group (cluster_world.ts), the bugs planted in
 * it, and the world itself: the same seed is the same history, on every runtime,
 * and every kind of trouble occurs.
 *
 * Replay one: npm run sim -- --world cluster --seed 42 --count 1
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sampled, seedGroups } from "../effort.ts";
import { PLANTED_IN_CLUSTER } from "./cluster_plants.ts";
import { BROKER_SIGHTS, LATE_SIGHTS, SIGHTS, type Sight, simulate } from "./cluster_world.ts";

const PER_TEST = 100;
const WITH_BROKER = { seeds: 120, perTest: 40 };
const LATE = { seeds: 200, perTest: 100 };
const PATIENCE = { timeout: 60_000 };
/** Each found something once. */
const FOUND = [
  65, 298, 403, 722, 1614, 1944, 2371, 2923, 3876, 4117, 4808, 5372, 6652, 1486, 500, 1708, 10,
];

describe("a broker group in trouble", () => {
  const seen = new Set<Sight>();

  for (const { title, seeds } of seedGroups(600, PER_TEST)) {
    it(`keeps what it confirmed and heals, ${title}`, PATIENCE, () => {
      for (const seed of seeds) {
        for (const sight of held(seed)) seen.add(sight);
      }
    });
  }

  it("does so where it once did not", PATIENCE, () => {
    for (const seed of FOUND) held(seed);
  });

  it("went through every kind of trouble", { skip: sampled }, () => {
    assert.deepEqual(
      SIGHTS.filter((sight) => !seen.has(sight)),
      [],
    );
  });

  it("does the same again for the same seed, on every runtime", PATIENCE, () => {
    const traces = [7, 8, 9].map((seed) => simulate(seed).trace.toString(16));
    assert.deepEqual(traces, TRACES);
    assert.equal(simulate(7).trace.toString(16), TRACES[0]);
  });

  for (const { name, about, breaks, ...planted } of PLANTED_IN_CLUSTER) {
    it(`is not kept by one that ${about} (${name})`, PATIENCE, () => {
      assert.throws(() => simulate(breaks, planted), "hunt again: npm run sim -- --planted");
    });
  }
});

describe("the broker of a group in trouble", () => {
  const seen = new Set<Sight>();

  for (const { title, seeds } of seedGroups(WITH_BROKER.seeds, WITH_BROKER.perTest)) {
    it(`goes on with every leader where the last one was, ${title}`, PATIENCE, () => {
      for (const seed of seeds) {
        for (const sight of held(seed, "failover")) seen.add(sight);
      }
    });
  }

  it("did all it can do, across leaders", { skip: sampled }, () => {
    assert.deepEqual(
      BROKER_SIGHTS.filter((sight) => !seen.has(sight)),
      [],
    );
  });
});

describe("a broker group whose log keeps losing its beginning", () => {
  const seen = new Set<Sight>();

  for (const { title, seeds } of seedGroups(LATE.seeds, LATE.perTest)) {
    it(`has its members back, with the keys of before, ${title}`, PATIENCE, () => {
      for (const seed of seeds) {
        for (const sight of held(seed, "late")) seen.add(sight);
      }
    });
  }

  it("went through all of it", { skip: sampled }, () => {
    assert.deepEqual(
      LATE_SIGHTS.filter((sight) => !seen.has(sight)),
      [],
    );
  });
});

/** Change with any change of what a seed draws or of what the core does: then take the new ones. */
const TRACES = ["9841f912", "785e9f02", "424f419c"];

function held(
  seed: number,
  world: "cluster" | "failover" | "late" = "cluster",
): ReadonlySet<Sight> {
  try {
    return simulate(seed, { broker: world === "failover", late: world === "late" }).seen;
  } catch (error) {
    const replay = `npm run sim -- --world ${world} --seed ${seed} --count 1`;
    throw new Error(`${replay}\n${(error as Error).message}`, { cause: error });
  }
}
