/**
 * Consumer groups on the wire. Defaults and bounds are part of the contract.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { Message, Name, Offset, Timestamp } from "./schemas.ts";

export const LEASE_MS = { min: 100, max: 12 * 3_600_000 } as const;
const SUBSCRIPTIONS_MAX = 100;
const ATTEMPTS_MAX = 10_000;
const IN_FLIGHT_MAX = 1_000_000;
const BACKOFF_MS_MAX = 7 * 24 * 3_600_000;
const SCHEDULE_MAX = 64;
const RECEIVE_MAX = 1000;
const RECEIPTS_MAX = 10_000;

const LeaseMs = z.int().min(LEASE_MS.min).max(LEASE_MS.max);

/** What it says is for the broker to judge: `filter-invalid`. */
const Filter = z
  .union([z.strictObject({ tag: z.string() }), z.strictObject({ sql: z.string() })], {
    error: "must be an object with a tag expression in `tag`, or SQL in `sql`",
  })
  .openapi("Filter", {
    description:
      "Which messages are wanted: a tag expression (`a || b`, `*`), or SQL over properties, `TAGS` and `KEY`",
    example: { tag: "created || paid" },
  });

const Subscription = z.strictObject({
  topic: Name.openapi({ example: "orders" }),
  filter: Filter.optional(),
});

const Subscriptions = z
  .array(Subscription)
  .max(SUBSCRIPTIONS_MAX)
  .refine((all) => new Set(all.map(({ topic }) => topic)).size === all.length, {
    message: "each topic may be subscribed to once",
  });

const Mode = z.enum(["concurrent", "ordered"]).openapi({
  description:
    "`ordered`: of each key one message at a time, in order, through retries; of those without a key, one per queue",
});

const BackoffMs = z.int().min(0).max(BACKOFF_MS_MAX);
const Backoff = z
  .union([
    z.strictObject({
      initialMs: BackoffMs,
      multiplier: z.number().min(1).max(100),
      maxMs: BackoffMs,
    }),
    z.strictObject({ scheduleMs: z.array(BackoffMs).min(1).max(SCHEDULE_MAX) }),
  ])
  .openapi({ description: "How long a released message rests before it is ready again" });

const MaxAttempts = z.int().min(1).max(ATTEMPTS_MAX);
const MaxInFlight = z.int().min(1).max(IN_FLIGHT_MAX);
const StartFrom = z.enum(["latest", "earliest"]);

export const GroupConfig = z
  .strictObject({
    subscriptions: Subscriptions.min(1),
    mode: Mode.default("concurrent"),
    leaseMs: LeaseMs.default(30_000),
    maxAttempts: MaxAttempts.default(16),
    backoff: Backoff.default({ initialMs: 1000, multiplier: 2, maxMs: 7_200_000 }),
    startFrom: StartFrom.default("latest"),
    maxInFlight: MaxInFlight.default(10_000),
  })
  .openapi("GroupConfig", {
    example: {
      subscriptions: [{ topic: "orders", filter: { tag: "created || paid" } }],
      mode: "ordered",
      leaseMs: 30_000,
    },
  });

export const GroupPatch = z
  .strictObject({
    subscriptions: Subscriptions.min(1).optional(),
    mode: Mode.optional(),
    leaseMs: LeaseMs.optional(),
    maxAttempts: MaxAttempts.optional(),
    backoff: Backoff.optional(),
    startFrom: StartFrom.optional(),
    maxInFlight: MaxInFlight.optional(),
  })
  .openapi("GroupPatch", { example: { maxAttempts: 5 } });

export const Group = z
  .object({
    name: Name.openapi({ example: "billing" }),
    subscriptions: z.array(z.object({ topic: Name, filter: Filter.optional() })),
    mode: Mode,
    leaseMs: LeaseMs,
    maxAttempts: MaxAttempts,
    backoff: Backoff,
    startFrom: StartFrom,
    maxInFlight: MaxInFlight,
    generation: Offset,
    createdAt: Timestamp,
    paused: z.boolean().openapi({ description: "Nothing is delivered; leases can be settled" }),
  })
  .openapi("Group");

export const GroupPage = z
  .object({ groups: z.array(Group), nextPageToken: Name.optional() })
  .openapi("GroupPage");

/** A word of the caller's own. */
const Token = z.string().regex(/^[\x21-\x7e]{1,128}$/);

export const Receive = z
  .strictObject({
    max: z.int().min(1).max(RECEIVE_MAX).default(32),
    maxBytes: z
      .int()
      .min(1)
      .max(16 * 1024 * 1024)
      .default(1024 * 1024),
    waitMs: z.int().min(0).max(60_000).default(20_000),
    leaseMs: LeaseMs.optional().openapi({ description: "The group's when absent" }),
    topic: Name.optional().openapi({ description: "Only from this subscription" }),
    attemptId: Token.optional().openapi({
      description: "Repeated within the lease, it gets the same messages again",
    }),
    consumerId: Token.optional().openapi({
      description: "Who asks: shown among the group's consumers",
    }),
  })
  .openapi("Receive", { example: { max: 32, waitMs: 20_000, leaseMs: 30_000 } });

const Receipt = z.string().min(1).max(1024);

export const Delivery = Message.extend({
  receipt: Receipt,
  attempt: z.int().min(1).openapi({ description: "1 for the first delivery" }),
  leaseUntil: Timestamp,
}).openapi("Delivery");

export const Deliveries = z.object({ messages: z.array(Delivery) }).openapi("Deliveries");

const list = <T extends z.ZodType>(item: T) => z.array(item).max(RECEIPTS_MAX).default([]);

export const Settle = z
  .strictObject({
    ack: list(Receipt),
    release: list(z.strictObject({ receipt: Receipt, delayMs: BackoffMs.optional() })),
    extend: list(z.strictObject({ receipt: Receipt, leaseMs: LeaseMs })),
    reject: list(z.strictObject({ receipt: Receipt, reason: z.string().max(1024).optional() })),
  })
  .openapi("Settle", { example: { ack: ["AAAA…"] } });

export const Settled = z
  .object({
    results: z.array(
      z.object({
        receipt: Receipt,
        status: z.enum(["ok", "late", "lost", "invalid"]),
        leaseUntil: Timestamp.optional(),
      }),
    ),
  })
  .openapi("Settled");

export const Lag = z
  .object({
    group: Name,
    topics: z.array(
      z.object({
        topic: Name,
        queues: z.array(
          z.object({
            queueId: z.int().min(0),
            committedOffset: Offset,
            endOffset: Offset,
            ready: z.int().min(0),
            leased: z.int().min(0),
            oldestAgeMs: z.int().min(0),
            expiredUnread: z.int().min(0).openapi({
              description: "Messages that retention removed before they were delivered",
            }),
          }),
        ),
        total: z.int().min(0).openapi({ description: "Messages not settled yet" }),
      }),
    ),
  })
  .openapi("Lag");
