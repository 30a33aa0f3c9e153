/**
 * The tester is tested: bugs planted in a copy of the tree are found. Here a few
 * that a seed or two find; all of them: npm run sim -- --planted
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { currentRuntime } from "../e2e/server.ts";
import { hunt, patched, PLANTS } from "./planted.ts";

const QUICK = ["M6", "M8", "M19", "M22"];

describe("a planted bug", () => {
  for (const plant of PLANTS.filter(({ name }) => QUICK.includes(name))) {
    it(`that ${plant.about} is found`, { timeout: 120_000 }, async () => {
      const { seed, said } = await hunt(plant, currentRuntime);
      assert(seed !== undefined, `${plant.name}: ${said}`);
    });
  }

  it("applies to the code there is, each of them", () => {
    for (const plant of PLANTS) assert(patched(plant).size > 0, plant.name);
  });
});
