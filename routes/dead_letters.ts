/**
 * The dead letters of a consumer group: `/v1/groups/{group}/dead-letters`, with
 * `redrive` and `purge`.
 *
 * A dead letter is a pointer: what the list shows is the message in its topic.
 * Where its bytes are damaged, the place is shown and the page goes on.
 *
 * @module
 */

import { z } from "@hono/zod-openapi";
import type { DeadLetter, StoredMessage } from "../src/broker/api.ts";
import { TidegateError } from "../storage/base/errors.ts";
import type { ByteWriter } from "./byte_writer.ts";
import type { Call } from "./call.ts";
import { failures, JSON_BODY } from "./contract.ts";
import { DeadLetterPage, Purge, Purged, Redrive, Redriven } from "./group_operation_schemas.ts";
import { writeMessage } from "./message_json.ts";
import { bytesResponse, writeList, writerFor } from "./message_list.ts";
import { type App, json, operation } from "./operation.ts";
import type { Ports } from "./ports.ts";
import { GroupParams, MessagesQuery, PageToken } from "./schemas.ts";
import { formatTimestamp } from "./timestamp.ts";

const tags = ["dead letters"];

const ListQuery = z.object({
  ...MessagesQuery,
  pageToken: PageToken.optional().openapi({
    param: { name: "pageToken", in: "query", description: "`nextPageToken` of the page before" },
  }),
});

export function deadLetterRoutes(app: App, ports: Ports): void {
  operation(app, ports, {
    contract: {
      operationId: "listDeadLetters",
      method: "get",
      path: "/v1/groups/{group}/dead-letters",
      tags,
      summary: "List what a consumer group gave up on, oldest first",
      responses: {
        200: {
          description: "A page; of a message whose bytes are damaged, only where it lies",
          content: { "application/json": { schema: DeadLetterPage } },
        },
        ...failures("group-not-found", "invalid-cursor"),
      },
    },
    input: { params: GroupParams, query: ListQuery },
    async handle({ params, query: { limit, maxBytes, pageToken: after }, call }) {
      const wanted = { limit, maxBytes, after };
      return pageResponse(call, await ports.broker.groups.deadLetters(params.group, wanted));
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "redriveDeadLetters",
      method: "post",
      path: "/v1/groups/{group}/dead-letters/redrive",
      tags,
      summary: "Send dead letters back: to this group alone, or as copies to a topic",
      description:
        "They leave the list. For the group they are ready again, at the same place, with all their attempts. No body means all.",
      responses: {
        202: {
          description: "How many were sent back",
          content: { "application/json": { schema: Redriven } },
        },
        ...failures(
          ...JSON_BODY,
          "group-not-found",
          "topic-not-found",
          "message-type-mismatch",
          "data-damaged",
        ),
      },
    },
    input: { params: GroupParams, json: Redrive },
    bodyOptional: true,
    async handle({ params, json: wish, call }) {
      const redriven = await ports.broker.groups.redrive(params.group, wish);
      return json(call, { redriven } satisfies z.input<typeof Redriven>, 202);
    },
  });

  operation(app, ports, {
    contract: {
      operationId: "purgeDeadLetters",
      method: "post",
      path: "/v1/groups/{group}/dead-letters/purge",
      tags,
      summary: "Drop dead letters from the list; their messages stay in the topic",
      description: "No body means all.",
      responses: {
        200: {
          description: "How many were dropped",
          content: { "application/json": { schema: Purged } },
        },
        ...failures(...JSON_BODY, "group-not-found"),
      },
    },
    input: { params: GroupParams, json: Purge },
    bodyOptional: true,
    async handle({ params, json: choice, call }) {
      const purged = await ports.broker.groups.purgeDeadLetters(params.group, choice);
      return json(call, { purged } satisfies z.input<typeof Purged>);
    },
  });
}

function pageResponse(
  call: Call,
  page: { readonly deadLetters: readonly DeadLetter[]; readonly next?: string | undefined },
): Response {
  const readable = page.deadLetters.flatMap(({ message }) => message ?? []);
  const out = writerFor(readable);
  out.text('{"deadLetters":');
  writeList(out, page.deadLetters, (letter) => writeDeadLetter(out, letter));
  if (page.next !== undefined) out.text(`,"nextPageToken":${JSON.stringify(page.next)}`);
  out.text("}");
  return bytesResponse(call, out);
}

function writeDeadLetter(out: ByteWriter, letter: DeadLetter): void {
  out.text('{"message":');
  if (letter.message === undefined || !isWritten(out, letter.message)) writePlace(out, letter);
  const { cause, reason, attempts, deadAt } = letter;
  const facts = { cause, reason, attempts, deadAt: formatTimestamp(deadAt) };
  out.text(`,${JSON.stringify(facts).slice(1)}`);
}

/** Writes the message, or nothing and returns false when its payload is none. */
function isWritten(out: ByteWriter, message: StoredMessage): boolean {
  try {
    writeMessage(out, message);
    return true;
  } catch (error) {
    if (error instanceof TidegateError && error.code === "data-damaged") return false;
    throw error;
  }
}

function writePlace(out: ByteWriter, { topic, queueId, queueOffset }: DeadLetter): void {
  out.text(JSON.stringify({ topic, queueId, queueOffset: String(queueOffset) }));
}
