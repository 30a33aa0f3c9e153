/**
 * The contract of publishes that may be repeated: their headers, what the answer
 * to a repeat says, and how they fail. See once.ts.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import { EPOCH_MAX, SEQ_MAX } from "./once.ts";

const percentEncoded = "Percent-encoded UTF-8";

export const OnceHeaders = z.object({
  "Idempotency-Key": z
    .string()
    .min(1)
    .max(256)
    .optional()
    .openapi({
      description: `The first answer is given again, with Idempotency-Replayed, for as long as the node remembers (a day by default); it counts in its topic and with its Message-Key. On a batch it stands for \`key#index\` on each message. ${percentEncoded}`,
      example: "8e03978e-40d5-43dd-bc93-6894a57f9324",
    }),
  "Producer-Id": z
    .string()
    .min(1)
    .max(128)
    .optional()
    .openapi({
      description: `Stores a producer's messages once and in sequence, with the two others and instead of a key; a sequence belongs to the topic and the Message-Key. ${percentEncoded}`,
      example: "billing-3",
    }),
  "Producer-Epoch": z.int().min(0).max(EPOCH_MAX).optional().openapi({
    description: "A newer epoch fences the older ones and begins at 0",
  }),
  "Producer-Seq": z.int().min(0).max(SEQ_MAX).optional().openapi({
    description: "From 0, one more for each message; of a batch, that of its first",
  }),
});

export const replayedHeader = {
  "Idempotency-Replayed": {
    description: "true: all of it is a repeat",
    schema: { type: "string" as const },
  },
};

export const ONCE_FAILURES = [
  "idempotency-mismatch",
  "idempotency-in-progress",
  "producer-fenced",
  "producer-sequence-gap",
  "producer-sequence-old",
  "data-damaged",
] as const;
