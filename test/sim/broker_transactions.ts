/**
 * Transactions of the simulation: begun, decided by their producer, by answers
 * to checks, by an operator, by several at once and across stops. What is known
 * of each is what was asked and what was answered; the oracle sees to it that
 * its messages are there only after a commit was asked for, all of them, once.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BrokerApi, Transaction } from "../../src/broker/api.ts";
import type { CheckAnswer, CheckCall, ChecksPort } from "../../src/broker/ports.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Prng } from "../../storage/base/prng.ts";
import { utf8 } from "../suites/broker_api_kit.ts";
import type { Fate, Oracle } from "./broker_oracle.ts";

export type TransactionSight =
  | "committed"
  | "rolled back"
  | "decided otherwise"
  | "called back"
  | "check received"
  | "parked";

interface Wish {
  /** Of its messages. */
  readonly ids: readonly string[];
  readonly fate: Fate;
  /** Once it was answered, or seen otherwise. */
  id: string | undefined;
}

interface Surroundings {
  readonly oracle: Oracle;
  readonly topics: readonly string[];
  sight(sight: TransactionSight): void;
  /** What a broker does after it was stopped is not heard. */
  life(): number;
}

export type Refusal = "disk-full" | "draining" | "outcome-unknown";

/** What a call is told that the disk has no room for, or a broker that ends no time; or that rests on such. */
export function refusal(error: unknown): Refusal | undefined {
  const code = error instanceof TidegateError ? error.code : undefined;
  const known = code === "disk-full" || code === "draining" || code === "outcome-unknown";
  return known ? code : undefined;
}

/** Nothing came of it. */
export function isRefused(error: unknown): boolean {
  const code = refusal(error);
  return code !== undefined && code !== "outcome-unknown";
}

export const CHECK_RULES = { firstCheckMs: 1000, checkIntervalMs: 1000, maxChecks: 3 };
const GROUP = "pay";

export class SimTransactions {
  readonly #prng: Prng;
  readonly #world: Surroundings;
  readonly #all: Wish[] = [];
  readonly #byMessage = new Map<string, Wish>();
  #number = 0;

  constructor(prng: Prng, world: Surroundings) {
    this.#prng = prng;
    this.#world = world;
  }

  /** Whoever the checkUrls of a broker that begins now lead to: answers at once, with what it likes. */
  checks(): ChecksPort {
    const life = this.#world.life();
    const isHeard = () => life === this.#world.life();
    const call = (check: CheckCall) =>
      isHeard() ? Promise.resolve(this.#answer(check)) : new Promise<never>(() => {});
    return { urlFault: () => undefined, secretFault: () => undefined, caller: { call } };
  }

  #answer({ transactionId, messages, checkNumber }: CheckCall): CheckAnswer {
    this.#world.sight("called back");
    assert(checkNumber <= CHECK_RULES.maxChecks, "no more checks than wanted");
    const wish = this.#learn(transactionId, messages);
    const decision = this.#prng.pick(["commit", "rollback", "unknown", "unknown"] as const);
    if (this.#prng.chance(20)) return { kind: "failed", reason: "it did not answer" };
    if (decision === "commit") wish.fate.commitAsked = true;
    return { kind: "decision", decision };
  }

  /** Of one that is decided, messages may have gone, be it all of them. */
  #seen(id: string, { state, messages = [] }: Pick<Transaction, "state" | "messages">) {
    const known =
      this.#all.find((wish) => wish.id === id) ?? this.#byMessage.get(messages[0]?.id ?? "");
    const whole = messages.length === known?.ids.length;
    const decided = state === "committed" || state === "rolledBack";
    if (!decided || whole) return this.#learn(id, messages);
    for (const one of messages) assert(known?.ids.includes(one.id), `${one.id} is one of ${id}`);
    if (known) known.id = id;
    return known;
  }

  #learn(id: string, messages: Transaction["messages"] = []): Wish {
    const wish = this.#byMessage.get(messages[0]?.id ?? "");
    assert(wish, `a transaction that was asked for: ${id}`);
    assert(wish.id === undefined || wish.id === id, `${id}: it is stored once`);
    const found = messages.map((one) => one.id);
    assert.deepEqual(found, wish.ids, `${id} has all of its messages`);
    wish.id = id;
    return wish;
  }

  async begin(api: BrokerApi): Promise<unknown> {
    const fate: Fate = { commitAsked: false, outcome: undefined };
    const batch = -1e6 - this.#number;
    const messages = Array.from({ length: 1 + this.#prng.below(5) }, () => {
      const at = this.#prng.below(this.#world.topics.length);
      const topic = this.#world.topics[at] as string;
      const id = `${topic}-txn-${this.#number++}`;
      const key = this.#prng.chance(50) ? `${topic}-key-${this.#prng.below(4)}` : undefined;
      const body = `${id} `.repeat(1 + this.#prng.below(20));
      const about = { id, key, body, delayMs: undefined, durable: true };
      // All of it within a topic is one batch to the oracle; over topics, see `finish`.
      this.#world.oracle.publishAsked({ ...about, batch: batch - at / 10, fate });
      return { topic, message: { id, key, body: utf8.encode(body) } };
    });
    const ids = messages.map(({ message }) => message.id);
    const wish: Wish = { ids, fate, id: undefined };
    this.#all.push(wish);
    for (const id of ids) this.#byMessage.set(id, wish);
    const checkUrl = this.#prng.chance(50) ? "https://pay.example/check" : undefined;
    const begun = { producerGroup: GROUP, messages, checkUrl, ...CHECK_RULES };
    const life = this.#world.life();
    const { id } = await api.transactions.begin(begun).catch((error: unknown) => {
      const here = life === this.#world.life();
      if (here && isRefused(error)) ids.forEach((one) => this.#refused(one));
      throw error;
    });
    if (life === this.#world.life()) wish.id = id;
    return id;
  }

  #refused(id: string): void {
    this.#world.oracle.publishRefused(id);
  }

  /** One of the last, whether it is decided or not. */
  async decide(api: BrokerApi): Promise<unknown> {
    const known = this.#all.filter(({ id }) => id !== undefined).slice(-12);
    if (known.length === 0) return undefined;
    return this.#decide(api, this.#prng.pick(known));
  }

  async #decide(
    api: BrokerApi,
    wish: Wish,
    word: "commit" | "rollback" = this.#prng.pick(["commit", "commit", "rollback"] as const),
  ): Promise<unknown> {
    const wanted = word === "commit" ? "committed" : "rolledBack";
    if (word === "commit") wish.fate.commitAsked = true;
    const life = this.#world.life();
    try {
      await api.transactions[word](wish.id as string);
      if (life === this.#world.life()) this.#decided(wish, wanted);
      return [wish.id, wanted];
    } catch (error) {
      if (life !== this.#world.life()) return undefined;
      if (refusal(error)) throw error;
      assert(error instanceof TidegateError && error.code === "transaction-decided", String(error));
      const state = error.details["state"] as Transaction["state"];
      assert.notEqual(state, wanted, "only the opposite is refused");
      this.#world.sight("decided otherwise");
      this.#decided(wish, state);
      return [wish.id, state];
    }
  }

  #decided(wish: Wish, state: Transaction["state"]): void {
    assert(state === "committed" || state === "rolledBack");
    assert(
      wish.fate.outcome === undefined || wish.fate.outcome === state,
      `${wish.id} is decided once`,
    );
    if (state === "committed") assert(wish.fate.commitAsked, `${wish.id}: somebody committed it`);
    wish.fate.outcome = state;
    this.#world.sight(state === "committed" ? "committed" : "rolled back");
  }

  /** Takes what is due and answers some of it. */
  async receiveChecks(api: BrokerApi): Promise<unknown> {
    const waitMs = this.#prng.pick([0, 500, 3000]);
    const life = this.#world.life();
    const checks = await api.transactions.receiveChecks(GROUP, { max: 3, waitMs });
    for (const { transactionId, messages, checkNumber } of checks) {
      if (life !== this.#world.life()) return undefined;
      this.#world.sight("check received");
      assert(checkNumber <= CHECK_RULES.maxChecks, "no more checks than wanted");
      const wish = this.#learn(transactionId, messages);
      if (this.#prng.chance(50)) await this.#decide(api, wish);
    }
    return checks.map(({ transactionId, checkNumber }) => [transactionId, checkNumber]);
  }

  /** What the broker says of each fits what is known; those nobody heard of are learnt. */
  async look(api: BrokerApi): Promise<unknown> {
    const states: unknown[] = [];
    for (let after: string | undefined; ; ) {
      const page = await api.transactions.list({ limit: 100, after });
      for (const { id } of page.transactions) {
        const shown = await api.transactions.get(id);
        const wish = this.#seen(id, shown);
        if (!wish) continue;
        if (shown.state === "parked") this.#world.sight("parked");
        if (shown.state === "committed" || shown.state === "rolledBack") {
          this.#decided(wish, shown.state);
        } else assert.equal(wish.fate.outcome, undefined, `${id} was decided`);
        states.push([id, shown.state, shown.checksSent]);
      }
      after = page.next;
      if (after === undefined) break;
    }
    assert(
      this.#all.every(
        ({ id }) => id === undefined || states.some((state) => (state as string[])[0] === id),
      ),
      "what was begun is there",
    );
    return states;
  }

  /** Everything is decided: those that are not are parked by now, or wait to be received. */
  async finish(api: BrokerApi): Promise<void> {
    await this.look(api);
    const wish = { max: 1000, waitMs: 0 };
    const asked = await api.transactions.receiveChecks(GROUP, wish);
    const due = new Set(asked.map(({ transactionId }) => transactionId));
    for (const state of ["prepared", "parked"] as const) {
      const { transactions } = await api.transactions.list({ limit: 1000, state });
      for (const { id, messages } of transactions) {
        if (state === "prepared") assert(due.has(id), `${id} was asked about, or is parked`);
        await this.#decide(api, this.#learn(id, messages));
      }
    }
    await this.look(api);
    for (const wish of this.#all) {
      if (wish.id !== undefined) assert(wish.fate.outcome, `${wish.id} is decided`);
    }
  }
}
