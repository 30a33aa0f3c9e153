/**
 * What the fake broker knows of a message's history: when it was stored, and when it became visible.
 *
 * @module
 */

import type {
  ScheduledMessage,
  StoredMessage,
  Trace,
  TraceEvent,
  TraceRequest,
} from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";

export function traceOf(
  stored: StoredMessage | ScheduledMessage,
  request: Omit<TraceRequest, "topic"> & { readonly generation: number },
): Trace {
  const { id, limit, generation } = request;
  const { after = `t~${generation}~0` } = request;
  const [, life, at] = /^t~(\d+)~(\d{1,3})$/.exec(after) ?? [];
  if (at === undefined) {
    throw new TidegateError("invalid-cursor", `Cannot go on from "${after}": it is no token`);
  }
  if (Number(life) !== generation) {
    throw new TidegateError("cursor-generation", "Cannot go on: the topic was made again");
  }
  const from = Number(at);
  const { topic, queueId } = stored;
  const all = eventsOf(stored);
  const queueOffset = stored.state === undefined ? stored.queueOffset : undefined;
  const events = all.slice(from, from + limit);
  const next = from + limit < all.length ? `t~${generation}~${from + limit}` : undefined;
  return { topic, id, queueId, queueOffset, since: 0, events, next };
}

function eventsOf(stored: StoredMessage | ScheduledMessage): TraceEvent[] {
  const { publishedAt: at } = stored;
  if (stored.state) return [{ event: "scheduled", at, deliverAt: stored.deliverAt }];
  const { queueOffset } = stored;
  const { deliverAt } = decodeMessage(stored.payload) ?? {};
  if (deliverAt === undefined) return [{ event: "published", at, queueOffset }];
  return [
    { event: "scheduled", at, deliverAt },
    { event: "revealed", at, queueOffset },
  ];
}
