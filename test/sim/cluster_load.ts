/**
 * The clients of a broker on a simulated group: producers that repeat until they are
 * answered, consumers, transactions decided by several, delayed messages. They ask
 * whoever leads, or thinks so, and hear an answer when it rests on what is confirmed.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { Prng } from "../../storage/base/prng.ts";
import type { Given, SimBroker } from "./cluster_broker.ts";
import type { BrokerOracle } from "./cluster_broker_oracle.ts";

const PRODUCERS = 3;
const HELD_MAX = 20;
const TRANSACTIONS_MAX = 8;

/** Calls back when what was decided so far is confirmed, if it ever is. */
export type Wait = (answer: () => void) => void;

export class BrokerLoad {
  readonly #prng: Prng;
  readonly #oracle: BrokerOracle;
  /** What each producer sends next, until it is answered. */
  readonly #seqs = Array.from({ length: PRODUCERS }, () => 0);
  readonly #held: Given[] = [];
  readonly #transactions: string[] = [];
  #ids = 0;

  constructor(prng: Prng, oracle: BrokerOracle) {
    this.#prng = prng;
    this.#oracle = oracle;
  }

  act(broker: SimBroker, wait: Wait): void {
    const roll = this.#prng.below(100);
    if (roll < 25) this.#publish(broker, wait);
    else if (roll < 35) broker.publishLater(this.#id("late"), 1 + this.#prng.below(3000));
    else if (roll < 60) this.#receive(broker, wait);
    else if (roll < 80) this.#settle(broker, wait);
    else if (roll < 88) this.#begin(broker, wait);
    else if (roll < 96) this.#decide(broker, wait);
    broker.revealDue();
  }

  #id(kind: string): string {
    return `${kind}-${this.#ids++}`;
  }

  #publish(broker: SimBroker, wait: Wait): void {
    const index = this.#prng.below(PRODUCERS);
    const producer = { id: `p${index}`, seq: this.#seqs[index] ?? 0 };
    const refusal = refusalOf(() => broker.publish(producer));
    wait(() => {
      if (refusal) throw new Error(`I22: ${refusal.message}`);
      this.#oracle.publishAnswered(producer);
      this.#seqs[index] = Math.max(this.#seqs[index] ?? 0, producer.seq + 1);
    });
  }

  #receive(broker: SimBroker, wait: Wait): void {
    const given = broker.receive(1 + this.#prng.below(4));
    wait(() => {
      this.#held.push(...given);
      this.#held.splice(0, this.#held.length - HELD_MAX);
    });
  }

  /** With a receipt of any leader's. */
  #settle(broker: SimBroker, wait: Wait): void {
    if (this.#held.length === 0) return;
    const given = this.#prng.pick(this.#held);
    const op = this.#prng.pick(["ack", "ack", "extend", "release"] as const);
    const status = broker.settle(given.receipt, op);
    wait(() => {
      const counts = status === "ok" || status === "late";
      if (op === "ack" && counts) this.#oracle.ackAnswered(given);
      if (status === "invalid") throw new Error("I23: a receipt that was given is not known");
    });
  }

  #begin(broker: SimBroker, wait: Wait): void {
    const id = this.#id("txn");
    broker.begin(id, 1 + this.#prng.below(3));
    wait(() => {
      this.#transactions.push(id);
      this.#transactions.splice(0, this.#transactions.length - TRANSACTIONS_MAX);
    });
  }

  /** One of the last, whether it is decided or not. */
  #decide(broker: SimBroker, wait: Wait): void {
    if (this.#transactions.length === 0) return;
    const id = this.#prng.pick(this.#transactions);
    const decision = this.#prng.pick(["commit", "commit", "rollback"] as const);
    const refusal = refusalOf(() => broker.decide(id, decision));
    wait(() => {
      if (!refusal) return this.#oracle.decisionAnswered(id, decision);
      if (refusal.code !== "transaction-decided") throw new Error(`I27: ${refusal.message}`);
      const committed = refusal.details["state"] === "committed";
      this.#oracle.decisionAnswered(id, committed ? "commit" : "rollback");
    });
  }
}

/** A refusal is an answer: it waits for what it rests on. */
function refusalOf(decide: () => void): TidegateError | undefined {
  try {
    decide();
    return undefined;
  } catch (error) {
    if (error instanceof TidegateError) return error;
    throw error;
  }
}
