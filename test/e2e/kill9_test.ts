/**
 * A short slice of the kill -9 campaign, on the runtime that runs the tests.
 * The long one: `npm run faults -- --kills 20 --runtime bun`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runCampaign } from "../faults/campaign.ts";
import { currentRuntime, withTempDir } from "./server.ts";

const SEED = Number(process.env["SEED"] ?? Date.now() % 1_000_000);

describe("a server killed with SIGKILL under load", () => {
  it(`keeps every promise (SEED=${SEED})`, { timeout: 180_000 }, () =>
    withTempDir(async (dataDir) => {
      const { violations, acked, repeats, transactions } = await runCampaign({
        runtime: currentRuntime,
        dataDir,
        seed: SEED,
        kills: 4,
        log: () => {},
      });
      const shown = violations.slice(0, 10).map(({ rule, detail }) => `${rule}: ${detail}`);
      assert.deepEqual(shown, []);
      assert(acked > 1000, `there was load: ${acked} acknowledged`);
      assert(transactions.begun > 10, `transactions began: ${transactions.begun}`);
      assert(repeats > 0, `what was answered was asked again: ${repeats}`);
    }),
  );
});
