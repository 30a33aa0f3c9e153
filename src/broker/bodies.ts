/**
 * From a place in a consume queue to the message that lies there.
 *
 * @module
 */

import { MessageFields } from "../../storage/base/message.ts";
import {
  type Frame,
  messageIn,
  type MessageStore,
  readFrames,
  type Unit,
} from "../../storage/mod.ts";
import type { StoredMessage } from "./api.ts";
import type { Core } from "./core.ts";
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

/**
 * The units at these queueOffsets, which are ascending, also of what was removed while it
 * is held; without those that lie nowhere any more.
 */
export async function visibleAt(
  { core, store }: { readonly core: Pick<Core, "fold">; readonly store: MessageStore },
  { queue, offsets }: { queue: QueuePlace; offsets: readonly number[] },
): Promise<Visible[]> {
  const { topicGen, queueId } = queue;
  const { reader } = store;
  const visible: Visible[] = [];
  const inQueue: number[] = [];
  for (const queueOffset of offsets) {
    const unit = core.fold.carried.find({ topicGen, queueId, queueOffset });
    if (unit) visible.push({ queueId, queueOffset, unit });
    else inQueue.push(queueOffset);
  }
  const anyCarried = visible.length > 0;
  for (const { first, count } of toRanges(inQueue)) {
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
  return anyCarried ? visible.sort((a, b) => a.queueOffset - b.queueOffset) : visible;
}

/** The messages at these queueOffsets; those that lie nowhere, or are damaged, are missing. */
export async function messagesAt(
  shell: { readonly core: Pick<Core, "fold">; readonly store: MessageStore },
  at: {
    readonly topic: TopicState;
    readonly queue: QueuePlace;
    readonly offsets: readonly number[];
  },
): Promise<StoredMessage[]> {
  for (;;) {
    const { start } = shell.store.log;
    const visible = await visibleAt(shell, at);
    const messages = await loadMessages(shell.store, { topic: at.topic, visible });
    if (shell.store.log.start === start) return messages.filter((one) => one !== undefined);
    // What moved forward while it was looked for is where it is now.
  }
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
    return frame && payloadAt(frame, at);
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

/** The payload, if the consume queue's unit told the truth about the record it points at. */
function payloadAt(
  frame: Frame,
  place: { topicGen: number; queueId: number; queueOffset: number },
): Uint8Array | undefined {
  const message = messageIn(frame);
  if (!message) return undefined;
  const { at, queueOffset, payload } = message;
  const { view } = frame;
  const lies =
    MessageFields.topicGen(view, at) === place.topicGen &&
    MessageFields.queueId(view, at) === place.queueId &&
    (queueOffset === place.queueOffset || queueOffset === -1);
  return lies ? payload : undefined;
}
