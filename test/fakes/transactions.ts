/**
 * The transactions of the fake broker: a list, looked through by its clock.
 *
 * It calls nobody: a transaction with a checkUrl waits until somebody decides.
 *
 * @module
 */

import type {
  CallOptions,
  HalfMessage,
  NewTransaction,
  Page,
  ProducerGroup,
  ProducerGroupConfig,
  ProducerGroupPatch,
  ProducerGroupsApi,
  Transaction,
  TransactionCheck,
  TransactionPage,
  TransactionsApi,
  TransactionState,
} from "../../src/broker/api.ts";
import { type ErrorCode, TidegateError } from "../../storage/base/errors.ts";
import type { Life } from "./topics.ts";
import type { Wakeups } from "./wakeups.ts";

const DAY_MS = 86_400_000;
const DEFAULTS: ProducerGroupConfig = {
  firstCheckMs: 6000,
  checkIntervalMs: 30_000,
  maxChecks: 15,
};

/** A half message with the topic it was sent to. */
export interface Held extends HalfMessage {
  readonly life: Life;
}

interface Entry extends ProducerGroupConfig {
  readonly id: string;
  readonly producerGroup: string;
  readonly createdAt: number;
  readonly halves: readonly Held[];
  state: TransactionState;
  checksSent: number;
  nextCheckAt: number;
  decidedAt: number;
}

export interface FakeTransactionsWorld {
  readonly wakeups: Wakeups;
  now(): number;
  /** Makes or finds the topics; refuses what they do not take. */
  hold(halves: readonly HalfMessage[]): readonly Held[];
  /** Makes messages visible, in order. */
  reveal(halves: readonly Held[]): void;
  isThere(life: Life): boolean;
}

export class FakeTransactions implements TransactionsApi {
  readonly producers: FakeProducerGroups;
  #entries: Entry[] = [];
  readonly #world: FakeTransactionsWorld;
  #count = 0;

  constructor(world: FakeTransactionsWorld) {
    this.#world = world;
    this.producers = new FakeProducerGroups(() => world.now());
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async begin({ producerGroup, messages, ...wish }: NewTransaction): Promise<{ id: string }> {
    refusePrivate(wish.checkUrl);
    const halves = this.#world.hold(messages);
    const createdAt = this.#world.now();
    const rules = merged(this.producers.find(producerGroup)?.config ?? DEFAULTS, wish);
    const id = `0-${++this.#count}`;
    const nextCheckAt = createdAt + rules.firstCheckMs;
    const open = { state: "prepared", checksSent: 0, nextCheckAt, decidedAt: Infinity } as const;
    this.#entries.push({ ...rules, id, producerGroup, createdAt, halves, ...open });
    return { id };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async commit(id: string): Promise<void> {
    const entry = this.#find(id);
    if (!this.#decide(entry, "committed")) return;
    this.#world.reveal(entry.halves);
    this.#world.wakeups.wake();
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async rollback(id: string): Promise<void> {
    this.#decide(this.#find(id), "rolledBack");
  }

  /** False when it was decided so before. */
  #decide(entry: Entry, state: TransactionState): boolean {
    if (entry.state === state) return false;
    if (entry.decidedAt < Infinity) {
      const detail = `Cannot decide "${entry.id}": it is ${entry.state}`;
      throw new TidegateError("transaction-decided", detail, { state: entry.state });
    }
    Object.assign(entry, { state, decidedAt: this.#world.now() });
    return true;
  }

  /** Rolls back what waits for the topic. @throws `topic-busy` unless `force` */
  clearTopic(life: Life, force: boolean): void {
    const waiting = this.#entries.filter(
      ({ decidedAt, halves }) =>
        decidedAt === Infinity && halves.some((half) => half.life === life),
    );
    if (waiting.length > 0 && !force) {
      const detail = `Cannot delete "${life.topic.name}": transactions wait`;
      throw new TidegateError("topic-busy", detail, { transactions: waiting.length });
    }
    for (const entry of waiting) this.#decide(entry, "rolledBack");
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async get(id: string): Promise<Transaction> {
    return this.#show(this.#find(id));
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async list({ limit, after, state, producerGroup }: TransactionPage) {
    if (after !== undefined && !/^\d{1,15}$/.test(after)) {
      throw new TidegateError("invalid-cursor", `Cannot list from "${after}"`);
    }
    const found = this.#kept().filter(
      (entry) =>
        (state === undefined || entry.state === state) &&
        (producerGroup === undefined || entry.producerGroup === producerGroup) &&
        Number(entry.id.slice(2)) > Number(after ?? 0),
    );
    const page = found.slice(0, limit);
    const transactions = page.map((entry) => {
      const { messages, ...rest } = this.#show(entry);
      return entry.decidedAt < Infinity ? rest : { ...rest, messages };
    });
    return { transactions, next: found.length > limit ? page.at(-1)?.id.slice(2) : undefined };
  }

  receiveChecks(
    producerGroup: string,
    { max, waitMs }: { max: number; waitMs: number },
    { signal }: CallOptions = {},
  ): Promise<readonly TransactionCheck[]> {
    const take = () => this.#takeChecks(producerGroup, max);
    const done = (checks: readonly TransactionCheck[]) => checks.length > 0;
    return this.#world.wakeups.until(take, { done, waitMs, signal });
  }

  #takeChecks(producerGroup: string, max: number): TransactionCheck[] {
    const now = this.#world.now();
    const due = this.#kept().filter(
      (entry) =>
        entry.producerGroup === producerGroup &&
        entry.state === "prepared" &&
        entry.checkUrl === undefined &&
        entry.nextCheckAt <= now,
    );
    const first = due.toSorted((a, b) => a.nextCheckAt - b.nextCheckAt).slice(0, max);
    return first.map((entry) => {
      entry.nextCheckAt = now + entry.checkIntervalMs;
      const { messages = [] } = this.#show(entry);
      return { transactionId: entry.id, messages, checkNumber: ++entry.checksSent };
    });
  }

  /** Those that are remembered; those that nobody answered are parked by now. */
  #kept(): Entry[] {
    const now = this.#world.now();
    this.#entries = this.#entries.filter(({ decidedAt }) => decidedAt + DAY_MS > now);
    for (const entry of this.#entries) {
      const { state, checksSent, maxChecks, nextCheckAt } = entry;
      const over = checksSent >= maxChecks && nextCheckAt <= now;
      if (state === "prepared" && over) entry.state = "parked";
    }
    return this.#entries;
  }

  #find(id: string): Entry {
    const found = this.#kept().find((entry) => entry.id === id);
    if (found) return found;
    throw new TidegateError("transaction-not-found", `Cannot find the transaction "${id}"`);
  }

  #show(entry: Entry): Transaction {
    const { id, producerGroup, state, checksSent, nextCheckAt, createdAt } = entry;
    const there = entry.halves.filter(({ life }) => this.#world.isThere(life));
    const messages = there.map(({ topic, message }) => ({
      id: message.id,
      topic,
      key: message.key,
    }));
    return {
      id,
      producerGroup,
      state,
      messages,
      checksSent,
      nextCheckAt: state === "prepared" ? nextCheckAt : undefined,
      createdAt,
    };
  }
}

interface Defined {
  readonly config: ProducerGroupConfig;
  readonly generation: number;
  readonly createdAt: number;
}

class FakeProducerGroups implements ProducerGroupsApi {
  readonly #defined = new Map<string, Defined>();
  readonly #now: () => number;
  #generation = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  find(name: string): Defined | undefined {
    return this.#defined.get(name);
  }

  #named(name: string): Defined {
    const found = this.find(name);
    if (found) return found;
    const code: ErrorCode = "producer-group-not-found";
    throw new TidegateError(code, `Cannot find the producer group "${name}"`);
  }

  #show(name: string): ProducerGroup {
    const { config, generation, createdAt } = this.#named(name);
    const { checkSecret, ...rest } = config;
    return { ...rest, name, generation, createdAt, checkSecretSet: checkSecret !== undefined };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async put(name: string, config: ProducerGroupConfig) {
    const known = this.find(name);
    if (known === undefined) {
      refusePrivate(config.checkUrl);
      const generation = ++this.#generation;
      this.#defined.set(name, { config, generation, createdAt: this.#now() });
    } else if (!same(known.config, config)) {
      throw new TidegateError("producer-group-exists", `Cannot create "${name}": it differs`);
    }
    return { created: known === undefined, producerGroup: this.#show(name) };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async get(name: string): Promise<ProducerGroup> {
    return this.#show(name);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async patch(name: string, change: ProducerGroupPatch): Promise<ProducerGroup> {
    const known = this.#named(name);
    refusePrivate(change.checkUrl);
    this.#defined.set(name, { ...known, config: merged(known.config, change) });
    return this.#show(name);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async delete(name: string): Promise<void> {
    this.#named(name);
    this.#defined.delete(name);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async list({ limit, after = "" }: Page) {
    const behind = [...this.#defined.keys()].sort().filter((name) => name > after);
    const names = behind.slice(0, limit);
    const producerGroups = names.map((name) => this.#show(name));
    return behind.length > limit ? { producerGroups, next: names.at(-1) } : { producerGroups };
  }
}

/** What is undefined stays, what is null goes. */
function merged(config: ProducerGroupConfig, change: ProducerGroupPatch): ProducerGroupConfig {
  const pick = <T>(before: T, after: T | null | undefined) =>
    after === undefined ? before : (after ?? undefined);
  return {
    checkUrl: pick(config.checkUrl, change.checkUrl),
    checkSecret: pick(config.checkSecret, change.checkSecret),
    firstCheckMs: change.firstCheckMs ?? config.firstCheckMs,
    checkIntervalMs: change.checkIntervalMs ?? config.checkIntervalMs,
    maxChecks: change.maxChecks ?? config.maxChecks,
  };
}

function same(a: ProducerGroupConfig, b: ProducerGroupConfig): boolean {
  return JSON.stringify(merged(a, {})) === JSON.stringify(merged(b, {}));
}

/** @throws `check-url-refused` */
export function refusePrivate(url: string | null | undefined): void {
  const fault = typeof url === "string" ? testUrlFault(url) : undefined;
  if (fault !== undefined) throw new TidegateError("check-url-refused", fault);
}

/** As much as tests need of it. */
export function testUrlFault(url: string): string | undefined {
  return /^https:\/\/[a-z.]+\.example(\/|$)/.test(url) ? undefined : `${url} may not be called`;
}
