/**
 * A broker that is stopped and started again before every call that finds no
 * other under way: what holds over it rests on nothing but the disk. A test of
 * hundreds of calls is mostly of calls that are alike: after the first of them, before
 * every tenth. Where not all of it runs (test/effort.ts), before some of them.
 *
 * @module
 */

import type { BrokerApi } from "../../src/broker/api.ts";
import { hasTurn, isFull, isWhole } from "../effort.ts";
import type { Opened } from "../suites/broker_api_kit.ts";
import type { TestBroker } from "../suites/open_broker.ts";

export type Stop = "kill" | "crash" | "close";

// What of the contract does not hold over it, and why.

export const ROTATION = {
  reason: "where the rotation stood is not kept: after a start it begins anew",
  tests: ["spreads messages without a key over all queues", "in turn", "moves that queue alone"],
};

export const LATER = {
  reason: "a call that waits for a start is a call made later",
  tests: ["has copied the body when it returns"],
};

export const DRAIN = {
  reason: "a drain ends with the process that drains",
  tests: ["drain ends waits and lets none begin"],
};

export const LONG = {
  reason: "thousands of messages would be thousands of segments",
  tests: ["finds the one in thousands", "looks far behind a key"],
};

export const PASSED = {
  reason: "behind a key that is held up, what was passed over is looked at again after a start",
  tests: ["lag() of an ordered group counts nothing that was passed over"],
};

export const WRITTEN = {
  reason: "what is only written is lost with the power",
  tests: ["with acks replicated", "with acks leader"],
};

/** So many calls are each met by a start. */
const FIRST_CALLS = 50;

type Calls = Record<string, (...args: unknown[]) => Promise<unknown>>;

export class Restless implements Opened {
  readonly api: BrokerApi;
  #broker: TestBroker;
  #underWay = 0;
  #calls = 0;
  readonly #stop: Stop;
  #restarting: Promise<void> = Promise.resolve();

  constructor(broker: TestBroker, stop: Stop) {
    this.#broker = broker;
    this.#stop = stop;
    this.api = {
      topics: this.#restless("topics"),
      messages: this.#restless("messages"),
      groups: this.#restless("groups"),
      transactions: this.#restless("transactions"),
      status: () => this.#broker.api.status(),
    };
  }

  get clock() {
    return this.#broker.clock;
  }

  readonly drain = (): void => this.#broker.drain();

  close(): Promise<void> {
    return this.#broker.close();
  }

  #restless<K extends keyof BrokerApi>(part: K): BrokerApi[K] {
    return this.#proxy((api) => api[part]) as BrokerApi[K];
  }

  #proxy(of: (api: BrokerApi) => unknown): unknown {
    const call = async (name: string, args: unknown[]) => {
      if (this.#underWay++ === 0) {
        if (isMet(this.#calls++)) this.#restarting = this.#restart();
      }
      try {
        await this.#restarting;
        return await (of(this.#broker.api) as Calls)[name]?.(...args);
      } finally {
        this.#underWay--;
      }
    };
    const get = (_: object, name: string) => {
      if (name === "producers") return this.#proxy((api) => api.transactions.producers);
      return (...args: unknown[]) => call(name, args);
    };
    return new Proxy({}, { get });
  }

  async #restart(): Promise<void> {
    const { disk } = this.#broker;
    if (this.#stop === "close") await this.#broker.close();
    this.#broker = await this.#broker.reopen(this.#stop === "crash" ? disk.crash() : disk.clone());
  }
}

function isMet(call: number): boolean {
  if (isFull) return true;
  const rarely = call >= FIRST_CALLS;
  if (rarely && call % 10 > 0) return false;
  return isWhole || hasTurn(rarely ? call / 10 : call);
}
