/**
 * A short slice of damage at rest, on the runtime that runs the tests. More of it:
 * npm run faults -- --fault flip --count 500
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AT_REST, spoilAtRest } from "./at_rest.ts";

const COUNT = 60;

describe("a file of a closed store", () => {
  for (const kind of AT_REST) {
    const what = kind === "flip" ? "has one bit flipped" : "loses its last bytes";
    it(`that ${what} costs what is told, and nothing else`, { timeout: 60_000 }, async () => {
      const { violations, effective, noticed, files } = await spoilAtRest(kind, {
        count: COUNT,
        seed: 1,
      });
      assert.deepEqual(violations.slice(0, 5), []);
      assert(effective > COUNT / 2 && noticed > COUNT / 3, `${effective}, ${noticed}`);
      const kinds = ["checkpoint", "idx", "log", "run", "snap", "tmr"];
      assert.deepEqual(
        kinds.filter((one) => !files[one]),
        [],
      );
    });
  }
});
