/**
 * Searching the fake broker's log, from its end back.
 *
 * @module
 */

import type { SearchPage, SearchRequest, StoredMessage } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import type { Life } from "./topics.ts";

export function searchLife(life: Life, request: SearchRequest): SearchPage {
  const { index, from = 0, to = Infinity, limit, maxBytes } = request;
  const question = stableHash(JSON.stringify([index, request.from, request.to]));
  const wants = ({ payload, publishedAt }: StoredMessage) =>
    publishedAt >= from &&
    publishedAt < to &&
    (index === undefined || decodeMessage(payload)?.index.includes(index) === true);
  const messages: StoredMessage[] = [];
  let at = startOf(life, { token: request.after, question });
  let bytes = 0;
  for (; at > life.first; at--) {
    const message = life.log[at - 1] as StoredMessage;
    if (!wants(message)) continue;
    bytes += message.payload.length;
    if (messages.length === limit || (messages.length > 0 && bytes > maxBytes)) break;
    messages.push(message);
  }
  if (at <= life.first) return { messages };
  return { messages, next: `f~${life.topic.generation}~${at}~${question}` };
}

/** `f~<generation>~<where to go on>~<hash of the question>` @throws `invalid-cursor`, `cursor-generation` */
function startOf(
  life: Life,
  { token, question }: { readonly token: string | undefined; readonly question: number },
): number {
  if (token === undefined) return life.log.length;
  const [, generation, at, asked] = /^f~(\d+)~(\d+)~(\d+)$/.exec(token) ?? [];
  if (generation !== undefined && Number(generation) !== life.topic.generation) {
    throw new TidegateError("cursor-generation", "Cannot go on: the topic was made again");
  }
  if (asked === String(question)) return Number(at);
  throw new TidegateError("invalid-cursor", `Cannot go on from "${token}": it is no token of this`);
}
