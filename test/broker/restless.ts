/**
 * A broker that is stopped and started again before every call that finds no
 * other under way: what holds over it rests on nothing but the disk. Each runtime has
 * its share of the calls (test/effort.ts); EFFORT=full: before every one.
 *
 * @module
 */

import type { BrokerApi } from "../../src/broker/api.ts";
import { hasTurn } from "../effort.ts";
import type { Opened } from "../suites/broker_api_kit.ts";
import type { TestBroker } from "../suites/open_broker.ts";

export type Stop = "kill" | "crash" | "close";

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
        const call = this.#calls++;
        if (hasTurn(call)) this.#restarting = this.#restart();
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
