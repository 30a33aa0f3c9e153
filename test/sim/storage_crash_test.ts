/**
 * Some hundred histories of the storage (storage_world.ts), and the world
 * itself: the same seed is the same history, and every kind of trouble occurs.
 *
 * Replay one: npm run sim -- --world storage --seed 42
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sampled, seedGroups } from "../effort.ts";
import { SIGHTS, type Sight, simulate } from "./storage_world.ts";

/** Each found something once. */
const FOUND = [31499, 2, 4, 53, 72, 136, 202, 265, 421, 605, 1897];
const PER_TEST = 40;
const PATIENCE = { timeout: 60_000 };

describe("the storage, stopped at any moment", () => {
  const seen = new Set<Sight>();

  for (const { title, seeds } of seedGroups(120, PER_TEST)) {
    it(`keeps what it confirmed, ${title}`, PATIENCE, async () => {
      for (const seed of seeds) {
        const history = await simulate(seed).catch((error: unknown) => {
          const replay = `npm run sim -- --world storage --seed ${seed}`;
          throw new Error(`${replay}\n${(error as Error).message}`, { cause: error });
        });
        for (const sight of history.seen) seen.add(sight);
      }
    });
  }

  it("keeps what it confirmed where it once did not", PATIENCE, async () => {
    for (const seed of FOUND) await simulate(seed);
  });

  it("went through every kind of trouble", { skip: sampled }, () => {
    assert.deepEqual(
      SIGHTS.filter((sight) => !seen.has(sight)),
      [],
    );
  });

  it("does the same again for the same seed", PATIENCE, async () => {
    const [first, second, other] = [await simulate(7), await simulate(7), await simulate(8)];
    assert.equal(first.trace, second.trace);
    assert.notEqual(first.trace, other.trace);
  });
});
