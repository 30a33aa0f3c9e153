/**
 * Transactions: `/v1/transactions` and what decides them.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type {
  Transaction as BrokerTransaction,
  HalfMessage as BrokerHalfMessage,
  TransactionMessage,
} from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import { contextOf, oneProblem } from "./batch.ts";
import { type BatchContext, batchItem } from "./batch_item.ts";
import { BATCH_BODY } from "./body_limits.ts";
import type { Call } from "./call.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { NAME } from "./names.ts";
import { type App, json, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { invalid, notImplemented } from "./problem.ts";
import { MessagesQuery } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";
import {
  HalfMessage,
  NewTransaction,
  Transaction,
  TransactionBegun,
  TransactionFilter,
  TransactionOutcome,
  TransactionPage,
  TransactionParams,
} from "./transaction_schemas.ts";

const tags = ["transactions"];

export function transactionRoutes(app: App, ports: Ports): void {
  app.openAPIRegistry.register("HalfMessage", HalfMessage);
  beginRoute(app, ports);
  decisionRoute(app, ports, { word: "commit", state: "committed" });
  decisionRoute(app, ports, { word: "rollback", state: "rolledBack" });

  operation(app, ports, {
    contract: {
      operationId: "getTransaction",
      method: "get",
      path: "/v1/transactions/{id}",
      tags,
      summary: "Show a transaction; a decided one for 24 hours",
      responses: {
        200: {
          description: "The transaction",
          content: { "application/json": { schema: Transaction } },
        },
        ...failures("transaction-not-found"),
      },
    },
    input: { params: TransactionParams },
    async handle({ params, call }) {
      return json(call, transactionJson(await ports.broker.transactions.get(params.id)));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "listTransactions",
      method: "get",
      path: "/v1/transactions",
      tags,
      summary: "List transactions, in the order they began",
      responses: {
        200: {
          description: "A page",
          content: { "application/json": { schema: TransactionPage } },
        },
        ...failures("invalid-cursor"),
      },
    },
    input: { query: z.object({ limit: MessagesQuery.limit, ...TransactionFilter }) },
    async handle({ query, call }) {
      const { pageToken: after, ...rest } = query;
      const page = await ports.broker.transactions.list({ ...rest, after });
      const transactions = page.transactions.map(transactionJson);
      return json(call, { transactions, nextPageToken: page.next });
    },
  });
}

function beginRoute(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "beginTransaction",
      method: "post",
      path: "/v1/transactions",
      tags,
      summary: "Begin a transaction: store messages that nobody sees until it is committed",
      responses: {
        201: {
          description: "All are stored",
          headers: {
            Location: { description: "The transaction", schema: { type: "string" as const } },
          },
          content: { "application/json": { schema: TransactionBegun } },
        },
        ...failures(
          ...JSON_BODY,
          "topic-not-found",
          "message-too-large",
          "message-type-mismatch",
          "check-url-refused",
        ),
      },
    },
    input: { json: NewTransaction },
    bodyLimit: BATCH_BODY,
    async handle({ json: wanted, call }) {
      refuseRepeats(call);
      const messages = halvesOf(wanted.messages, { ...contextOf(ports, call), once: undefined });
      const { id } = await ports.broker.transactions.begin({ ...wanted, messages });
      const body = {
        id,
        state: "prepared",
        messages: messages.map(({ message }) => ({ id: message.id })),
      };
      const response = json(call, body, 201);
      response.headers.set("location", `/v1/transactions/${id}`);
      return response;
    },
  });
}

function decisionRoute(
  app: App,
  ports: Ports,
  { word, state }: { readonly word: "commit" | "rollback"; readonly state: string },
): void {
  const summary =
    word === "commit"
      ? "Make all messages of the transaction visible, together"
      : "Drop all messages of the transaction";
  operation(app, ports, {
    contract: {
      operationId: `${word}Transaction`,
      method: "post",
      path: `/v1/transactions/{id}/${word}`,
      tags,
      summary,
      responses: {
        200: {
          description: "Decided so, now or before",
          content: { "application/json": { schema: TransactionOutcome } },
        },
        ...failures("transaction-not-found", "transaction-decided"),
      },
    },
    input: { params: TransactionParams },
    async handle({ params, call }) {
      await ports.broker.transactions[word](params.id);
      return json(call, { id: params.id, state });
    },
  });
}

/** Accepted and ignored, a retry would begin another transaction. */
function refuseRepeats({ head }: Call): void {
  if (head.idempotencyKey !== undefined) throw notImplemented("Idempotency-Key on transactions");
  const { producerId, producerEpoch, producerSeq } = head;
  if ((producerId ?? producerEpoch ?? producerSeq) !== undefined) {
    throw notImplemented("Producer-Id on transactions");
  }
}

/** @throws what is wrong with any of them, as one: they are all or nothing. */
function halvesOf(values: readonly unknown[], context: BatchContext): BrokerHalfMessage[] {
  const items = values.map((value, index) => halfOf(value, { index, context }));
  const halves = items.filter(
    (item): item is BrokerHalfMessage => !(item instanceof TidegateError),
  );
  if (halves.length < items.length) throw oneProblem(items);
  return halves;
}

function halfOf(
  value: unknown,
  at: { readonly index: number; readonly context: BatchContext },
): BrokerHalfMessage | TidegateError {
  const message = batchItem(value, { ...at, more: ["topic"] });
  if (message instanceof TidegateError) return message;
  const { topic } = value as { readonly topic?: unknown };
  const pointer = `/messages/${at.index}`;
  if (message.deliverAt !== undefined || message.delayMs !== undefined) {
    const name = message.deliverAt === undefined ? "delayMs" : "deliverAt";
    const detail = "a message of a transaction has no delay";
    return invalid([{ pointer: `${pointer}/${name}`, detail }]);
  }
  if (typeof topic === "string" && NAME.test(topic)) return { topic, message };
  return invalid([{ pointer: `${pointer}/topic`, detail: "must be the name of a topic" }]);
}

function transactionJson(one: BrokerTransaction): z.input<typeof Transaction> {
  return {
    id: one.id,
    producerGroup: one.producerGroup,
    state: one.state,
    messages: one.messages && messagesJson(one.messages),
    checksSent: one.checksSent,
    nextCheckAt: one.nextCheckAt === undefined ? undefined : formatTimestamp(one.nextCheckAt),
    createdAt: formatTimestamp(one.createdAt),
  };
}

/** Member by member: what the broker keeps beside them is no part of the contract. */
export function messagesJson(messages: readonly TransactionMessage[]) {
  return messages.map(({ id, topic, key }) => ({ id, topic, key }));
}
