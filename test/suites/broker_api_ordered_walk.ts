/**
 * Random work on an ordered group, judged by what order means and nothing else:
 * a delivery of a key is always its oldest message that is not settled, by the
 * attempt that follows, and by nobody else's lease.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Delivery } from "../../src/broker/api.ts";
import { Prng } from "../../storage/base/prng.ts";
import { decoded, GROUP, message, type Opened, receive, settle, TOPIC } from "./broker_api_kit.ts";

const STEPS = 160;
const ATTEMPTS_MAX = 3;
const LEASE_MS = 1000;

export async function walkOrdered({ api, clock }: Opened): Promise<void> {
  await api.topics.put("orders", { ...TOPIC, queues: 2 });
  const rules = { leaseMs: LEASE_MS, maxAttempts: ATTEMPTS_MAX };
  await api.groups.put("g", { ...GROUP, ...rules, mode: "ordered" });
  const walk = new Walk(api, clock);
  for (let step = 0; step < STEPS; step++) await walk.step();
  await walk.finish();
}

/** A message that is neither acked nor dead. */
interface Unsettled {
  readonly id: string;
  attempt: number;
  /** Leased, or waiting for a retry, until then. */
  until: number;
  /** Undefined while nobody holds it. */
  receipt: string | undefined;
}

class Walk {
  readonly #prng = new Prng(3);
  readonly #api: BrokerApi;
  readonly #clock: Opened["clock"];
  /** By key, oldest first. */
  readonly #keys = new Map(["a", "b", "c", "d"].map((key) => [key, [] as Unsettled[]]));
  #published = 0;
  #settled = 0;

  constructor(api: BrokerApi, clock: Opened["clock"]) {
    this.#api = api;
    this.#clock = clock;
  }

  async step(): Promise<void> {
    const roll = this.#prng.below(100);
    if (roll < 30) await this.#publish();
    else if (roll < 60) await this.#receive(1 + this.#prng.below(4));
    else if (roll < 92) await this.#settleOne();
    else this.#clock.advance(this.#prng.below(LEASE_MS));
  }

  /** Everything that was published is settled in the end. */
  async finish(): Promise<void> {
    assert(this.#settled > 20, "the walk went somewhere");
    for (let round = 0; this.#settled < this.#published; round++) {
      assert(round < 2 * this.#published, `${this.#published - this.#settled} are stuck`);
      await this.#receive(100);
      for (const one of this.#held()) {
        assert.deepEqual(await settle(this.#api, { ack: [one.receipt] }), ["ok"]);
        this.#settle(one.id);
      }
      this.#clock.advance(LEASE_MS);
    }
    assert.deepEqual(await receive(this.#api), []);
  }

  async #publish(): Promise<void> {
    const key = this.#prng.pick([...this.#keys.keys()]);
    const id = `${key}${this.#published++}`;
    await this.#api.messages.publish("orders", message(id, { key }));
    this.#keys.get(key)?.push({ id, attempt: 0, until: 0, receipt: undefined });
  }

  async #receive(max: number): Promise<void> {
    for (const one of await receive(this.#api, { max })) this.#judge(one);
  }

  #judge(delivery: Delivery): void {
    const { id, key = "" } = decoded(delivery);
    const line = this.#keys.get(key) ?? [];
    const before = line[0];
    if (before && before.id !== id) {
      const usedUp = before.attempt === ATTEMPTS_MAX && before.until <= this.#clock.now();
      assert(usedUp, `${id} came before ${before.id}`);
      this.#settle(before.id); // its last lease ended, and it is a dead letter
    }
    const [one] = line;
    assert(one?.id === id, `${id} came before ${one?.id}`);
    assert(one.until <= this.#clock.now(), `${id} is leased or waits`);
    assert.equal(delivery.attempt, ++one.attempt);
    Object.assign(one, { until: delivery.leaseUntil, receipt: delivery.receipt });
  }

  async #settleOne(): Promise<void> {
    const held = this.#held();
    if (held.length === 0) return;
    const one = this.#prng.pick(held);
    const { receipt } = one;
    const roll = this.#prng.below(10);
    const delayMs = this.#prng.below(LEASE_MS / 2);
    const request =
      roll < 6
        ? { ack: [receipt] }
        : roll < 7
          ? { reject: [{ receipt }] }
          : { release: [{ receipt, delayMs }] };
    assert.deepEqual(await settle(this.#api, request), ["ok"]);
    if (roll < 7 || one.attempt === ATTEMPTS_MAX) this.#settle(one.id);
    else Object.assign(one, { until: this.#clock.now() + delayMs, receipt: undefined });
  }

  #held(): (Unsettled & { receipt: string })[] {
    const all = [...this.#keys.values()].flat();
    return all.filter(
      (one): one is Unsettled & { receipt: string } =>
        one.receipt !== undefined && one.until > this.#clock.now(),
    );
  }

  #settle(id: string): void {
    const first = this.#keys.get(id.charAt(0))?.shift();
    assert.equal(first?.id, id);
    this.#settled++;
  }
}
