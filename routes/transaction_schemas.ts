/**
 * Transactions and producer groups on the wire. Defaults and bounds are part of
 * the contract.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { NewMessage } from "./messages_contract.ts";
import { MessageId, Name, PageToken, Timestamp } from "./schemas.ts";

export const TRANSACTION_MESSAGES_MAX = 100;
const CHECK_MS = { min: 1000, max: 24 * 3_600_000 } as const;
const CHECKS_MAX = 100;
const RECEIVE_MAX = 1000;
const URL_MAX = 2048;

const TransactionId = z
  .string()
  .regex(/^[\w.-]{1,128}$/)
  .openapi({ example: "0-7b1f6a0e5c0d4f0f9c55a3f3a9a0f6e1" });

export const TransactionParams = z.object({
  id: TransactionId.openapi({
    param: { name: "id", in: "path", description: "The transaction's id" },
  }),
});

export const ProducerGroupParams = z.object({
  producerGroup: Name.openapi({
    param: { name: "producerGroup", in: "path", description: "The producer group's name" },
    example: "pay",
  }),
});

const CheckMs = z.int().min(CHECK_MS.min).max(CHECK_MS.max);
const FirstCheckMs = CheckMs.openapi({ description: "From the begin to the first check" });
const CheckIntervalMs = CheckMs.openapi({ description: "From one check to the next" });
const MaxChecks = z
  .int()
  .min(1)
  .max(CHECKS_MAX)
  .openapi({ description: "Checks sent at most; then the transaction is parked" });
const CheckUrl = z.string().min(1).max(URL_MAX).openapi({
  description:
    "Who is asked for the outcome. https, and not a private address unless the node allows it; without one, checks are received from the producer group",
  example: "https://pay.example/check",
});
const CheckSecret = z
  .string()
  .regex(/^[\x21-\x7e]{1,256}$/)
  .openapi({ description: "Signs what is sent to the checkUrl; never shown", writeOnly: true });

/** What the document says of one; it is read by hand, see batch_item.ts. */
export const HalfMessage = NewMessage.omit({ deliverAt: true, delayMs: true })
  .extend({ topic: Name.openapi({ example: "orders" }) })
  .openapi("HalfMessage", {
    description: "Exactly one of data, text and dataBase64",
    example: { topic: "orders", key: "order-17", data: { paid: true } },
  });

export const NewTransaction = z
  .strictObject({
    producerGroup: Name.openapi({ example: "pay" }),
    messages: z
      .array(z.unknown())
      .min(1)
      .max(TRANSACTION_MESSAGES_MAX)
      .openapi({
        type: "array",
        items: { $ref: "#/components/schemas/HalfMessage" },
        minItems: 1,
        maxItems: TRANSACTION_MESSAGES_MAX,
        description: "As in a batch, each with its topic and without a delay",
      }),
    checkUrl: CheckUrl.optional(),
    firstCheckMs: FirstCheckMs.optional(),
    checkIntervalMs: CheckIntervalMs.optional(),
    maxChecks: MaxChecks.optional(),
  })
  .openapi("NewTransaction", {
    description: "What is absent is the producer group's, else 6 s, 30 s and 15",
    example: {
      producerGroup: "pay",
      messages: [{ topic: "orders", key: "order-17", data: { paid: true } }],
      checkUrl: "https://pay.example/check",
    },
  });

export const TransactionBegun = z
  .object({
    id: TransactionId,
    state: z.literal("prepared"),
    messages: z.array(z.object({ id: MessageId })),
  })
  .openapi("TransactionBegun");

export const TransactionOutcome = z
  .object({ id: TransactionId, state: z.enum(["committed", "rolledBack"]) })
  .openapi("TransactionOutcome");

const State = z.enum(["prepared", "parked", "committed", "rolledBack"]).openapi({
  description:
    "`parked`: all checks were sent and nobody decided; commit and rollback still decide it",
});

const TransactionMessage = z.object({
  id: MessageId,
  topic: Name.openapi({ example: "orders" }),
  key: z.string().optional().openapi({ example: "order-17" }),
});

export const Transaction = z
  .object({
    id: TransactionId,
    producerGroup: Name.openapi({ example: "pay" }),
    state: State,
    messages: z.array(TransactionMessage).optional().openapi({
      description: "Those of topics that are gone are missing; absent for decided ones in a list",
    }),
    checksSent: z.int().min(0),
    nextCheckAt: Timestamp.optional().openapi({ description: "While it is prepared" }),
    createdAt: Timestamp,
  })
  .openapi("Transaction");

export const TransactionPage = z
  .object({ transactions: z.array(Transaction), nextPageToken: PageToken.optional() })
  .openapi("TransactionPage");

export const TransactionFilter = {
  state: State.optional().openapi({ param: { name: "state", in: "query" }, example: "parked" }),
  producerGroup: Name.optional().openapi({ param: { name: "producerGroup", in: "query" } }),
  pageToken: PageToken.optional().openapi({
    param: { name: "pageToken", in: "query", description: "`nextPageToken` of the page before" },
  }),
};

export const ProducerGroupConfig = z
  .strictObject({
    checkUrl: CheckUrl.optional(),
    checkSecret: CheckSecret.optional(),
    firstCheckMs: FirstCheckMs.default(6000),
    checkIntervalMs: CheckIntervalMs.default(30_000),
    maxChecks: MaxChecks.default(15),
  })
  .openapi("ProducerGroupConfig", {
    example: { checkUrl: "https://pay.example/check", firstCheckMs: 6000 },
  });

export const ProducerGroupPatch = z
  .strictObject({
    checkUrl: CheckUrl.nullable().optional(),
    checkSecret: CheckSecret.nullable().optional(),
    firstCheckMs: FirstCheckMs.optional(),
    checkIntervalMs: CheckIntervalMs.optional(),
    maxChecks: MaxChecks.optional(),
  })
  .openapi("ProducerGroupPatch", { example: { maxChecks: 5 } });

export const ProducerGroup = z
  .object({
    name: Name.openapi({ example: "pay" }),
    checkUrl: CheckUrl.optional(),
    checkSecretSet: z.boolean(),
    firstCheckMs: FirstCheckMs,
    checkIntervalMs: CheckIntervalMs,
    maxChecks: MaxChecks,
    generation: z.string(),
    createdAt: Timestamp,
  })
  .openapi("ProducerGroup");

export const ProducerGroupPage = z
  .object({ producerGroups: z.array(ProducerGroup), nextPageToken: Name.optional() })
  .openapi("ProducerGroupPage");

export const ReceiveChecks = z
  .strictObject({
    max: z.int().min(1).max(RECEIVE_MAX).default(32),
    waitMs: z.int().min(0).max(60_000).default(20_000),
  })
  .openapi("ReceiveChecks", { example: { max: 32, waitMs: 20_000 } });

export const Checks = z
  .object({
    checks: z.array(
      z.object({
        transactionId: TransactionId,
        messages: z.array(TransactionMessage),
        checkNumber: z.int().min(1).openapi({ description: "1 for the first" }),
      }),
    ),
  })
  .openapi("Checks");
