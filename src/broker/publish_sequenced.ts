/**
 * Publishing with a place in a producer's sequence: what the core decides
 * (sequenced.ts), and of a repeat the first answer, read from the log.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage, type Message } from "../../storage/base/message.ts";
import type { Frame } from "../../storage/mod.ts";
import type { NewMessage, Published } from "./api.ts";
import {
  checkIds,
  checkType,
  checkUnit,
  publishedAs,
  storeAtomically,
  topicForPublish,
} from "./publish.ts";
import { judgeSequence, type Repeat, type SequencePlace, tooOld } from "./sequenced.ts";
import type { Shell } from "./shell.ts";

/** Stores the messages as one unit, or gives their first answers. */
export async function publishSequenced(
  shell: Shell,
  call: {
    readonly name: string;
    readonly messages: readonly NewMessage[];
    /** Ids of scheduled messages. */
    readonly taken: ReadonlySet<string>;
  },
): Promise<readonly Published[]> {
  const { name, messages, taken } = call;
  try {
    shell.admit();
    checkSequence(messages);
    const now = shell.leaderTime();
    checkUnit(shell.core, { messages, now });
    const topic = topicForPublish(shell.core, { name, now });
    for (const message of messages) checkType(topic, message);
    const place = placeOf(topic.generation, messages);
    const repeat = judgeSequence(shell.core, { place, now });
    if (repeat) {
      await shell.replies.acknowledged(topic.config.acks, undefined);
      return await answersOf(shell, { topicGen: topic.generation, repeat, place });
    }
    checkIds(messages, { taken, now });
    const published = storeAtomically(shell.core, { topic, messages, now });
    shell.store.log.flush();
    shell.timers.arm();
    return await shell.replies.acknowledged(topic.config.acks, published);
  } catch (error) {
    return shell.refuse(error);
  }
}

/** @throws `invalid-request` unless they follow each other in one sequence. */
export function checkSequence(messages: readonly NewMessage[]): void {
  const [first] = messages;
  const start = first?.producer;
  const follow = messages.every(({ producer, key, idempotencyKey }, i) => {
    const same = producer?.id === start?.id && producer?.epoch === start?.epoch;
    return same && producer?.seq === (start?.seq ?? 0) + i && key === first?.key && !idempotencyKey;
  });
  if (start && follow) return;
  const detail =
    "Cannot publish the batch: its messages do not follow each other in one producer's sequence, of one ordering key or none";
  throw new TidegateError("invalid-request", detail);
}

function placeOf(topicGen: number, messages: readonly NewMessage[]): SequencePlace {
  const [{ key, producer }] = messages as [NewMessage & Required<Pick<NewMessage, "producer">>];
  const { id, epoch, seq } = producer as NonNullable<NewMessage["producer"]>;
  return { scope: { topicGen, id, key }, epoch, seq, count: messages.length };
}

async function answersOf(
  shell: Shell,
  asked: { readonly topicGen: number; readonly repeat: Repeat; readonly place: SequencePlace },
): Promise<Published[]> {
  const { topicGen, repeat, place } = asked;
  const answers: Published[] = [];
  for (const { logOffset, skip, count } of repeat.parts) {
    if (logOffset < (shell.store.log.segments[0]?.base ?? 0))
      throw tooOld(place, repeat.expectedSeq);
    for (const { frame, message } of await unitAt(shell, { logOffset, size: skip + count }, skip)) {
      const first = publishedAs({ ...message, topicGen, publishedAt: frame.storedAt });
      answers.push({ ...first, replayed: true });
    }
  }
  return answers;
}

/** The first `size` messages of a unit, but for `skip` of them: its frames lie side by side. */
async function unitAt(
  { store }: Shell,
  unit: { readonly logOffset: number; readonly size: number },
  skip: number,
): Promise<{ frame: Frame; message: Message }[]> {
  const found: { frame: Frame; message: Message }[] = [];
  for (let at = unit.logOffset; found.length < unit.size; ) {
    const frame = await store.log.readAt(at);
    const message = frame && decodeMessage(frame.payload);
    if (!frame || !message?.producer) {
      const detail = `Cannot answer the repeat: the first message's record at ${at} is damaged`;
      throw new TidegateError("data-damaged", detail, { at });
    }
    found.push({ frame, message });
    at += frame.size;
  }
  return found.slice(skip);
}
