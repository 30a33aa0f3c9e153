/**
 * From a place in a consume queue to the message that lies there.
 *
 * @module
 */

import { MessageFields } from "../../storage/base/message.ts";
import { type Frame, type MessageStore, readFrames, type Unit } from "../../storage/mod.ts";
import type { StoredMessage } from "./api.ts";
import { encodeQueueCursor } from "./cursor.ts";
import type { TopicState } from "./topics.ts";

export interface Visible {
  readonly queueId: number;
  readonly queueOffset: number;
  readonly unit: Unit;
}

/** The messages, in order; undefined for one whose bytes are damaged. */
export async function loadMessages(
  store: MessageStore,
  { topic, visible }: { topic: TopicState; visible: readonly Visible[] },
): Promise<(StoredMessage | undefined)[]> {
  const places = visible.map(({ unit }) => ({ logOffset: unit.bodyLogOffset, size: unit.size }));
  const frames = await readFrames(store.log, places);
  return visible.map((place, i) => toMessage(topic, { ...place, frame: frames[i] }));
}

function toMessage(
  topic: TopicState,
  { queueId, queueOffset, unit, frame }: Visible & { frame: Frame | undefined },
): StoredMessage | undefined {
  if (!frame || !liesAt(frame, { topicGen: topic.generation, queueId, queueOffset }))
    return undefined;
  return {
    topic: topic.name,
    queueId,
    queueOffset,
    cursor: encodeQueueCursor({
      topicGen: topic.generation,
      queueId,
      queueOffset: queueOffset + 1,
    }),
    publishedAt: unit.visibleAt,
    payload: frame.payload,
  };
}

/** Whether a consume queue's unit told the truth about the record it points at. */
function liesAt(
  { view, payloadAt }: Frame,
  at: { topicGen: number; queueId: number; queueOffset: number },
): boolean {
  const queueOffset = MessageFields.queueOffset(view, payloadAt);
  return (
    MessageFields.topicGen(view, payloadAt) === at.topicGen &&
    MessageFields.queueId(view, payloadAt) === at.queueId &&
    (queueOffset === at.queueOffset || queueOffset === -1)
  );
}
