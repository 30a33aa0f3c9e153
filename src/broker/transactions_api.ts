/**
 * {@linkcode TransactionsApi} on this node.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { messageIn } from "../../storage/mod.ts";
import type {
  CallOptions,
  ListedTransactions,
  Transaction,
  TransactionCheck,
  TransactionMessage,
  TransactionPage,
  TransactionsApi,
} from "./api.ts";
import { messagesOf } from "./checks.ts";
import { producerGroupsApi } from "./producer_groups_api.ts";
import type { Shell } from "./shell.ts";
import { transactionIdOf } from "./transaction_id.ts";
import { beginTransaction } from "./transaction_begin.ts";
import { decideTransaction, transactionOf } from "./transaction_decide.ts";
import { isDecided, type TransactionEntity } from "./transactions.ts";

export function transactionsApi(shell: Shell): TransactionsApi {
  const { core } = shell;
  const decide = (id: string, decision: "commit" | "rollback") =>
    shell.decide((now) => decideTransaction(core, { id, decision, now }));
  return {
    begin: (wish) =>
      shell.decide((now) => {
        shell.admit();
        shell.checkUrl(wish.checkUrl);
        const id = newTransactionId(shell);
        beginTransaction(core, { id, wish, now });
        shell.timers.arm();
        return { id };
      }),
    commit: (id) => decide(id, "commit"),
    rollback: (id) => decide(id, "rollback"),
    async get(id) {
      const found = await shell.decide((now) => {
        const entity = transactionOf(core, { id, now });
        return { entity, shown: show(shell, entity) };
      });
      if (found.shown.messages) return found.shown;
      return { ...found.shown, messages: await readMessages(shell, found.entity) };
    },
    list: (page) => shell.decide((now) => list(shell, page, now)),
    receiveChecks: (producerGroup, wish, options) =>
      receiveChecks(shell, { producerGroup, ...wish, signal: options?.signal }),
    producers: producerGroupsApi(shell),
  };
}

function newTransactionId(shell: Shell): string {
  return transactionIdOf(shell.core.brokerGroup, shell.entropy(16));
}

function show({ core }: Shell, entity: TransactionEntity): Transaction {
  const { id, producerGroup, state, checksSent, nextCheckAt, createdAt } = entity;
  return {
    id,
    producerGroup,
    state,
    messages: isDecided(entity) ? undefined : messagesOf(core, entity),
    checksSent,
    nextCheckAt: state === "prepared" ? nextCheckAt : undefined,
    createdAt,
  };
}

/** What memory keeps of a decided one are the places of its messages. */
async function readMessages(
  { core, store }: Shell,
  { bodies }: TransactionEntity,
): Promise<TransactionMessage[]> {
  const messages: TransactionMessage[] = [];
  for (const logOffset of bodies) {
    const frame = await store.log.readAt(logOffset);
    const stored = messageIn(frame);
    const message = stored && decodeMessage(stored.payload);
    const topic = message && core.fold.topics.of(message.topicGen)?.name;
    if (topic !== undefined) messages.push({ id: message?.id as string, topic, key: message?.key });
  }
  return messages;
}

function list(
  shell: Shell,
  { limit, after, state, producerGroup, cursors }: TransactionPage,
  now: number,
): ListedTransactions {
  const which = state === "prepared" || state === "parked" ? "open" : "all";
  const from = after === undefined ? -1 : placeOf(after);
  const found: TransactionEntity[] = [];
  for (const one of shell.core.fold.transactions.list(now, which)) {
    if (one.since <= from) continue;
    if (state !== undefined && one.state !== state) continue;
    if (producerGroup !== undefined && one.producerGroup !== producerGroup) continue;
    found.push(one);
    if (found.length > limit) break;
  }
  const listed = found.slice(0, limit);
  const transactions = listed.map((one) => show(shell, one));
  const last = found.length > limit ? found[limit - 1] : undefined;
  const places = cursors && { cursors: listed.map(({ since }) => String(since)) };
  return { transactions, next: last && String(last.since), ...places };
}

/** @throws `invalid-cursor` */
function placeOf(token: string): number {
  const place = /^\d{1,16}$/.test(token) ? Number(token) : NaN;
  if (Number.isSafeInteger(place)) return place;
  throw new TidegateError("invalid-cursor", `Cannot list from "${token}": no page ended there`);
}

async function receiveChecks(
  shell: Shell,
  wish: {
    readonly producerGroup: string;
    readonly max: number;
    readonly waitMs: number;
    readonly signal: CallOptions["signal"];
  },
): Promise<readonly TransactionCheck[]> {
  const { producerGroup, max, signal } = wish;
  const { checks, core } = shell;
  const deadline = shell.now() + wish.waitMs;
  for (;;) {
    if (checks.hasWaiting(producerGroup)) {
      const sent = await shell.decide((now) =>
        checks.receive(producerGroup, { max, now }).map((transaction) => ({
          transaction,
          checkNumber: transaction.checksSent,
          messages: messagesOf(core, transaction),
        })),
      );
      if (signal?.aborted) {
        checks.takeBack(sent);
        return [];
      }
      return sent.map(({ transaction, ...check }) => ({ ...check, transactionId: transaction.id }));
    }
    const waitMs = deadline - shell.now();
    if (waitMs <= 0 || signal?.aborted || shell.room.draining) return [];
    await checks.waiters.wait(producerGroup, { waitMs, signal });
  }
}
