/**
 * From a place in a consume queue to the message that lies there.
 *
 * @module
 */

import { MessageFields } from "../../storage/base/message.ts";
import { type Frame, type MessageStore, readFrames, type Unit } from "../../storage/mod.ts";
import type { StoredMessage } from "./api.ts";
import { encodeQueueCursor } from "./cursor.ts";
import { toRanges } from "./offsets.ts";
import type { TopicState } from "./topics.ts";

interface QueuePlace {
  readonly topicGen: number;
  readonly queueId: number;
}

export interface Visible {
  readonly queueId: number;
  readonly queueOffset: number;
  readonly unit: Unit;
}

/** The units at these queueOffsets, which are ascending, be they removed; without those that lie nowhere any more. */
export async function visibleAt(
  { reader }: Pick<MessageStore, "reader">,
  { queue, offsets }: { queue: QueuePlace; offsets: readonly number[] },
): Promise<Visible[]> {
  const { topicGen, queueId } = queue;
  const visible: Visible[] = [];
  for (const { first, count } of toRanges(offsets)) {
    const end = first + count;
    for (let from = first; from < end; ) {
      const { firstOffset, units } = await reader.read(
        { topicGen, queueId },
        { from, max: end - from, removed: true },
      );
      for (const [i, unit] of units.entries()) {
        const queueOffset = firstOffset + i;
        if (queueOffset < end) visible.push({ queueId, queueOffset, unit });
      }
      if (units.length === 0) break;
      from = firstOffset + units.length;
    }
  }
  return visible;
}

/** The messages, in order; undefined for one whose bytes are damaged. */
export async function loadMessages(
  store: MessageStore,
  { topic, visible }: { topic: TopicState; visible: readonly Visible[] },
): Promise<(StoredMessage | undefined)[]> {
  const payloads = await loadPayloads(store, { topic, visible });
  return visible.map((place, i) => {
    const payload = payloads[i];
    return payload && storedMessage(topic, { place, payload });
  });
}

/** Their payloads alone, for those who may not want them all. */
export async function loadPayloads(
  store: MessageStore,
  { topic, visible }: { topic: TopicState; visible: readonly Visible[] },
): Promise<(Uint8Array | undefined)[]> {
  const places = visible.map(({ unit }) => ({ logOffset: unit.bodyLogOffset, size: unit.size }));
  const frames = await readFrames(store.log, places);
  return visible.map(({ queueId, queueOffset }, i) => {
    const frame = frames[i];
    const at = { topicGen: topic.generation, queueId, queueOffset };
    return frame && liesAt(frame, at) ? frame.payload : undefined;
  });
}

export function storedMessage(
  topic: TopicState,
  { place, payload }: { place: Visible; payload: Uint8Array },
): StoredMessage {
  const { queueId, queueOffset, unit } = place;
  const after = { topicGen: topic.generation, queueId, queueOffset: queueOffset + 1 };
  return {
    topic: topic.name,
    queueId,
    queueOffset,
    cursor: encodeQueueCursor(after),
    publishedAt: unit.visibleAt,
    payload,
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
