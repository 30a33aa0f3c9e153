/** @module */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nearest } from "../../src/cli/nearest.ts";

describe("nearest()", () => {
  const known = ["publish", "tail", "topic"];
  const cases: [word: string, meant: string | undefined][] = [
    ["publsh", "publish"],
    ["topics", "topic"],
    ["tail", "tail"],
    ["tall", "tail"],
    ["inspect", undefined],
    ["", undefined],
  ];
  for (const [word, meant] of cases) {
    it(`takes "${word}" for ${meant}`, () => assert.equal(nearest(word, known), meant));
  }

  it("knows nothing among nothing", () => assert.equal(nearest("tail", []), undefined));
});
