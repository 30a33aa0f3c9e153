/**
 * {@linkcode TransactionsApi} of a cluster. A transaction is in one broker group, its home,
 * which its id names: all of its messages go to queues there. Those without a key can be
 * steered; where keys want more than one broker group, there is no such transaction.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type {
  BrokerGroupApi,
  ListedTransactions,
  NewTransaction,
  Transaction,
  TransactionPage,
  TransactionsApi,
} from "../broker/api.ts";
import { checkUrlOf } from "../broker/definitions.ts";
import { checkHalf, checkTakesHalves, fixedQueue, unitFault } from "../broker/placing.ts";
import { homeOf } from "../broker/transaction_id.ts";
import { CheckReceiver } from "./checks.ts";
import { type Cluster, isMoved, overSeveralGroups } from "./cluster.ts";
import { ownerOf, type TopicDefinition } from "./definition.ts";
import { isAway } from "./members.ts";
import { mergePages } from "./merged_pages.ts";
import { producerGroupsApi } from "./producer_groups.ts";

export function transactionsApi(cluster: Cluster): TransactionsApi {
  const checks = new CheckReceiver(cluster);
  const atHome = <T>(id: string, ask: (broker: BrokerGroupApi) => Promise<T>): Promise<T> => {
    const group = homeOf(id);
    if (group === undefined || !cluster.members.known().includes(group)) throw noTransaction(id);
    return cluster.members.call({ group, ask, repeatable: true });
  };
  return {
    begin: (wish) => begin(cluster, wish),
    commit: async (id) => atHome(id, ({ transactions }) => transactions.commit(id)),
    rollback: async (id) => atHome(id, ({ transactions }) => transactions.rollback(id)),
    get: async (id) => atHome(id, ({ transactions }) => transactions.get(id)),
    list: (page) => list(cluster, page),
    receiveChecks: (producerGroup, wish, options) =>
      checks.receive({ producerGroup, ...wish, signal: options?.signal }),
    producers: producerGroupsApi(cluster),
  };
}

function noTransaction(id: string): TidegateError {
  const detail = `Cannot find transaction "${id}": none has this id, or it was decided long ago`;
  return new TidegateError("transaction-not-found", detail, { id });
}

/** Looked at again so often when its topics change meanwhile, or a broker group does not answer. */
const TRIES_MAX = 5;

async function begin(cluster: Cluster, wish: NewTransaction): Promise<{ readonly id: string }> {
  const copy = { ...wish, messages: wish.messages.map(withOwnBody) };
  checkMessages(copy, cluster);
  const deadline = cluster.members.deadline();
  const failed = new Set<number>();
  for (let tries = 1; ; tries++) {
    const topics = await topicsOf(cluster, copy);
    const group = homeFor(cluster, { wish: copy, topics, failed });
    try {
      for (const topic of new Set(topics)) await cluster.copies.ensure(topic, { group, deadline });
      const ask = ({ transactions }: BrokerGroupApi) => transactions.begin(copy);
      return await cluster.members.call({ group, ask, deadline });
    } catch (error) {
      if (!(error instanceof TidegateError) || tries >= TRIES_MAX) throw error;
      if (isMoved(error)) await readAgain(cluster, copy);
      else if (!isAway(error) || error.code === "outcome-unknown") throw error;
      failed.add(group);
      if (cluster.clock.elapsed() >= deadline) throw error;
    }
  }
}

function withOwnBody(half: NewTransaction["messages"][number]): NewTransaction["messages"][number] {
  return { ...half, message: { ...half.message, body: half.message.body.slice() } };
}

/** What would be refused anywhere; asked before topics are made for it. */
function checkMessages({ messages, checkUrl }: NewTransaction, { checks }: Cluster): void {
  for (const { message } of messages) checkHalf(message);
  const bodies = messages.map(({ message }) => message);
  const fault = unitFault("begin the transaction", bodies);
  if (fault) throw fault;
  checkUrlOf(checkUrl, checks);
}

/** Of each message; those that do not exist are made, once all others are known to take halves. */
async function topicsOf(
  cluster: Cluster,
  { messages }: NewTransaction,
): Promise<readonly TopicDefinition[]> {
  const names = [...new Set(messages.map(({ topic }) => topic))];
  for (const name of names) {
    const known = cluster.autoCreate
      ? await cluster.definitions.find("topic", name)
      : await cluster.topic(name);
    checkTakesHalves(name, known?.config.messageType ?? "mixed");
  }
  const topics = new Map<string, TopicDefinition>();
  for (const name of names) topics.set(name, await cluster.topicForPublish(name));
  return messages.map(({ topic }) => topics.get(topic) as TopicDefinition);
}

async function readAgain(cluster: Cluster, { messages }: NewTransaction): Promise<void> {
  const names = new Set(messages.map(({ topic }) => topic));
  for (const name of names) await cluster.definitions.read("topic", name);
}

/** The broker group for all of them. @throws `not-implemented` when there is none. */
function homeFor(
  cluster: Cluster,
  about: {
    readonly wish: NewTransaction;
    readonly topics: readonly TopicDefinition[];
    readonly failed: ReadonlySet<number>;
  },
): number {
  const { wish, topics, failed } = about;
  const fixed = new Set<number>();
  let possible: readonly number[] = topics[0]?.groups ?? [];
  for (const [i, topic] of topics.entries()) {
    const { message } = wish.messages[i] as NewTransaction["messages"][number];
    const queueId =
      message.key === undefined ? undefined : fixedQueue(message, topic.config.queues);
    if (queueId !== undefined) fixed.add(ownerOf(topic, queueId));
    possible = possible.filter((group) => topic.groups.includes(group));
  }
  if (fixed.size === 1) possible = possible.filter((group) => fixed.has(group));
  if (fixed.size > 1 || possible.length === 0) {
    throw overSeveralGroups("begin the transaction", "transaction over broker groups");
  }
  return choose(cluster, { possible, failed });
}

/** One that is well, if there is one. */
function choose(
  { clock, faults, members }: Cluster,
  {
    possible,
    failed,
  }: { readonly possible: readonly number[]; readonly failed: ReadonlySet<number> },
): number {
  const now = clock.elapsed();
  const isWell = (group: number) => {
    return !failed.has(group) && members.leader(group) && !faults.isAvoided(group, now);
  };
  const well = possible.filter(isWell);
  const among = well.length > 0 ? well : possible;
  return among[Math.floor(now) % among.length] as number;
}

/** In the order they began, by the clocks of the leaders. */
async function list(cluster: Cluster, wish: TransactionPage): Promise<ListedTransactions> {
  const groups = cluster.members.known();
  const pageOf = (group: number, part: TransactionPage) =>
    cluster.members.call({
      group,
      repeatable: true,
      ask: ({ transactions }) => transactions.list(part),
    });
  const [only, ...others] = groups;
  if (only !== undefined && others.length === 0) return await pageOf(only, wish);
  const { items: transactions, next } = await mergePages<Transaction>({
    groups,
    after: wish.after,
    limit: wish.limit,
    page: async (group, part) => {
      const page = await pageOf(group, { ...wish, ...part, cursors: true });
      return { ...page, items: page.transactions, cursors: page.cursors ?? [] };
    },
    compare: (a, b) => a.createdAt - b.createdAt,
  });
  return { transactions, ...(next !== undefined && { next }) };
}
