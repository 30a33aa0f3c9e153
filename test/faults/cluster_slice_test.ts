/**
 * A little of what can happen to a broker group, on real processes in a network of
 * their own; more of it: npm run faults -- --world cluster
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { currentRuntime, withTempDir } from "../e2e/server.ts";
import { cannotInCluster, type ClusterFaultName, runClusterCampaign } from "./cluster_campaign.ts";
import { firstDifference } from "./cluster_compare.ts";
import { Acks, spread } from "./acks.ts";

/** All of it on one runtime: a minute is long where there are three. */
const SLICE: readonly ClusterFaultName[] =
  currentRuntime === "bun"
    ? ["leader-kill", "partition", "follower-pause", "etcd-kill", "all-kill"]
    : ["leader-kill", "all-kill"];
const SEED = 1;

/** What this machine lets us do; what it does not is said. */
const here = SLICE.filter((fault) => {
  const reason = cannotInCluster([fault]);
  if (reason !== false) console.error(`!!!! ${fault} is not tried here: ${reason}`);
  return reason === false;
});

describe("a broker group", { skip: here.length === 0 && cannotInCluster(SLICE) }, () => {
  it("keeps what it promised through a little of everything", { timeout: 180_000 }, () =>
    withTempDir(async (dir) => {
      const lines: string[] = [];
      const log = (line: string) => void lines.push(line);
      const options = { faults: here, count: here.length, runtime: currentRuntime, seed: SEED };
      const result = await runClusterCampaign({ ...options, dir, log }).catch((error: unknown) => {
        console.error(lines.join("\n"));
        throw error;
      });
      const replay = `npm run faults -- --world cluster --fault ${here.join()} --count ${here.length} --seed ${SEED}`;
      assert.deepEqual(result.violations, [], `${lines.join("\n")}\n${replay}`);
      assert.equal(result.effective, here.length, lines.join("\n"));
      assert(result.acked > 100, "it was under load");
    }),
  );
});

describe("firstDifference()", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  it("finds none where one is the beginning of the other", () => {
    assert.equal(firstDifference(bytes("abc"), bytes("abcd")), undefined);
  });

  it("says where two part", () => {
    assert.equal(firstDifference(bytes("abxd"), bytes("abc")), 2);
  });
});

describe("Acks", () => {
  it("finds the longest silence since the mark", async () => {
    const acks = new Acks();
    acks.mark();
    const startedAt = performance.now();
    acks.note();
    const { gapMs, endedMs } = acks.longest(startedAt + 500);
    assert(gapMs > 450 && endedMs >= gapMs, `${gapMs} ${endedMs}`);
    assert.equal(acks.count, 1);
  });

  it("spreads durations", () => {
    const values = Array.from({ length: 200 }, (_, i) => i);
    assert.deepEqual(spread(values), { median: 100, p99: 198, most: 199 });
  });
});
