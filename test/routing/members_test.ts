/**
 * Calling a broker group whose leader leaves, and another comes that does not serve yet.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi } from "../../src/broker/api.ts";
import { Members } from "../../src/routing/members.ts";
import type { Routing } from "../../src/routing/mod.ts";

/** One broker group, whose leader the test says. */
class Script {
  readonly clock = new ManualClock();
  readonly #waiting = new Set<() => void>();
  #leader: BrokerGroupApi | undefined;

  readonly members = new Members({ routing: this.#routing(), clock: this.clock });

  #routing(): Routing {
    return {
      groups: async () => [1],
      known: () => [1],
      leader: () => this.#leader,
      lost() {},
      status: () => ({ groups: [], nodes: [] }),
      changed: (_, signal) =>
        new Promise((resolve) => {
          this.#waiting.add(resolve);
          signal.addEventListener("abort", () => resolve(), { once: true });
        }),
    };
  }

  lead(): BrokerGroupApi {
    const leader = {} as BrokerGroupApi;
    this.#leader = leader;
    for (const tell of this.#waiting) tell();
    return leader;
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 5) {
      this.clock.advance(5);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe("a call to a broker group", () => {
  it("is tried again soon at another leader, however long the one before was asked", async () => {
    const script = new Script();
    const old = script.lead();
    let serves: BrokerGroupApi | undefined;
    const asked: BrokerGroupApi[] = [];
    const ask = async (broker: BrokerGroupApi) => {
      asked.push(broker);
      if (broker === serves) return script.clock.elapsed();
      throw new TidegateError("draining", "Cannot answer");
    };
    const answer = script.members.call({ group: 1, ask });
    await script.pass(1500);
    assert(asked.every((broker) => broker === old) && asked.length < 8, `${asked.length} tries`);
    const heir = script.lead();
    await script.pass(30);
    const servesAt = script.clock.elapsed();
    serves = heir;
    await script.pass(1000);
    const waited = (await answer) - servesAt;
    assert(waited <= 50, `it took ${waited} ms`);
  });
});
