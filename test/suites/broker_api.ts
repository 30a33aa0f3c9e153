/**
 * The contract of `BrokerApi`: one suite that every implementation passes.
 *
 * An implementation that does not claim something says so: the names of the
 * tests it leaves out, with the reason; a name that is no test fails.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { testDeadLetters } from "./broker_api_dead_letters.ts";
import { testFilters } from "./broker_api_filters.ts";
import { testReadFilters } from "./broker_api_read_filters.ts";
import { testDelays } from "./broker_api_delay.ts";
import { testGroups } from "./broker_api_groups.ts";
import type { Open, Test } from "./broker_api_kit.ts";
import { testIdempotency } from "./broker_api_idempotency.ts";
import { testLeases } from "./broker_api_leases.ts";
import { testOperation } from "./broker_api_operation.ts";
import { testOrdered } from "./broker_api_ordered.ts";
import { testOrderedRetries } from "./broker_api_ordered_retries.ts";
import { testPublish } from "./broker_api_publish.ts";
import { testReads } from "./broker_api_read.ts";
import { testReceives } from "./broker_api_receives.ts";
import { testRetention } from "./broker_api_retention.ts";
import { testRedrive } from "./broker_api_redrive.ts";
import { testSearch } from "./broker_api_search.ts";
import { testSeek } from "./broker_api_seek.ts";
import { testTopics } from "./broker_api_topics.ts";
import { testTraces } from "./broker_api_trace.ts";
import { testTransactions } from "./broker_api_transactions.ts";

export interface Skip {
  readonly reason: string;
  /** What the names of the tests contain. */
  readonly tests: readonly string[];
}

export function testBrokerApi(name: string, open: Open, skips: readonly Skip[] = []): void {
  const unused = new Set(skips.flatMap(({ tests }) => tests));
  const isSkipped = (does: string) => {
    const matching = [...skips.flatMap(({ tests }) => tests)].filter((part) => does.includes(part));
    for (const part of matching) unused.delete(part);
    return matching.length > 0;
  };

  describe(`BrokerApi, ${name}`, () => {
    const test: Test = (does, body, options = {}) => {
      if (isSkipped(does)) return;
      it(does, { timeout: 60_000 }, async () => {
        const opened = await open(options);
        try {
          await body(opened);
        } finally {
          await opened.close();
        }
      });
    };
    testTopics(test);
    testPublish(test);
    testIdempotency(test);
    testReads(test);
    testReadFilters(test);
    testSearch(test);
    testDelays(test);
    testGroups(test);
    testLeases(test);
    testReceives(test);
    testOrdered(test);
    testOrderedRetries(test);
    testDeadLetters(test);
    testRedrive(test);
    testOperation(test);
    testSeek(test);
    testRetention(test);
    testFilters(test);
    testTransactions(test);
    testTraces(test);

    it("is excused from tests that exist", () => assert.deepEqual([...unused], []));
  });
}
