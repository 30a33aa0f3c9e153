/**
 * Publishing one message: `POST /v1/topics/{topic}/messages`.
 *
 * The hot path. The body is the payload and passes through untouched, never
 * through JSON or a schema; the attributes are checked by hand; the answer is
 * put together from strings. The contract is registered beside it, in
 * publish_contract.ts.
 *
 * @module
 */

import type { Published } from "../src/broker/api.ts";
import { MESSAGE_BODY } from "./body_limits.ts";
import type { Call } from "./call.ts";
import { refuseOtherNamespace } from "./namespace.ts";
import { onceOf, REPLAYED } from "./once.ts";
import type { Ports } from "./ports.ts";
import { preferences } from "./prefer.ts";
import { draftOf } from "./publish_attributes.ts";
import { readQuery } from "./query.ts";
import { formatTimestamp } from "./timestamp.ts";

export type Publish = (topic: string, request: Request, call: Call) => Promise<Response>;

export function publishing(ports: Ports): Publish {
  const { broker, bodies } = ports;
  return async (topic, request, call) => {
    const { head } = call;
    const query = readQuery(call.url);
    refuseOtherNamespace(head, query);
    const message = draftOf(head, { query, now: ports.now() });
    const once = onceOf(head);
    if (once) Object.assign(message, once);

    message.body = await bodies.read(request, { call, limit: MESSAGE_BODY });
    const published = await broker.messages.publish(topic, message);

    const location = `/v1/topics/${topic}/messages/${published.id}`;
    if (head.prefer !== undefined && preferences(head.prefer).returnMinimal) {
      const applied = { location, "preference-applied": "return=minimal" };
      const headers = call.headers(told(published, applied));
      return new Response(null, { status: 204, headers });
    }
    return new Response(publishedJson(topic, published), {
      status: published.replayed ? 200 : 201,
      headers: call.headers(told(published, { "content-type": "application/json", location })),
    });
  };
}

/** The answer to a repeat says that it is one. */
function told(published: Published, headers: Record<string, string>): Record<string, string> {
  if (published.replayed) headers[REPLAYED] = "true";
  return headers;
}

/** Topic, id and cursor are of characters that need no escaping. */
function publishedJson(topic: string, published: Published): string {
  const { id, queueId } = published;
  const publishedAt = formatTimestamp(published.publishedAt);
  if (published.state) {
    const deliverAt = formatTimestamp(published.deliverAt);
    return `{"id":"${id}","topic":"${topic}","queueId":${queueId},"deliverAt":"${deliverAt}","publishedAt":"${publishedAt}","state":"scheduled"}`;
  }
  const { queueOffset, cursor } = published;
  return `{"id":"${id}","topic":"${topic}","queueId":${queueId},"queueOffset":"${queueOffset}","cursor":"${cursor}","publishedAt":"${publishedAt}"}`;
}
