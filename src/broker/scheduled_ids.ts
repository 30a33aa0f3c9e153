/**
 * The ids of messages that are scheduled: while one is, its id is taken in its
 * topic.
 *
 * Nearly always a filter in memory says at once that an id is free. When it is
 * not sure, the timers are asked, which may read from disk; meanwhile what is
 * published to the same topic waits its turn, so that messages are stored in the
 * order of the calls.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { messageIn, type MessageStore, type Timer } from "../../storage/mod.ts";
import type { NewMessage } from "./api.ts";
import type { Core } from "./core.ts";
import type { TopicState } from "./topics.ts";

export class ScheduledIds {
  readonly #core: Core;
  readonly #store: MessageStore;
  /** By topic: the last publish that waits. */
  readonly #waiting = new Map<string, Promise<unknown>>();

  constructor(core: Core, store: MessageStore) {
    this.#core = core;
    this.#store = store;
  }

  /** Whether it is sure, without looking further, that the message can be stored now. */
  isFree(topic: string, message: NewMessage): boolean {
    return !this.#waiting.has(topic) && !this.#mayBeTaken(message);
  }

  /**
   * Stores messages in their turn, with the ids among theirs that are taken.
   *
   * @param store is called once, and adds to `taken` what it schedules.
   */
  async inTurn<T>(
    topic: string,
    messages: readonly NewMessage[],
    store: (messages: readonly NewMessage[], taken: Set<string>) => Promise<T>,
  ): Promise<T> {
    const copies = messages.map((message) => ({ ...message, body: message.body.slice() }));
    const stored = (this.#waiting.get(topic) ?? Promise.resolve()).then(async () => {
      const taken = await this.#taken(topic, copies);
      return { answer: store(copies, taken) }; // wrapped: the next one waits until it is stored, no longer
    });
    const turn = stored.catch(() => {});
    this.#waiting.set(topic, turn);
    void turn.then(() => {
      if (this.#waiting.get(topic) === turn) this.#waiting.delete(topic);
    });
    return (await stored).answer;
  }

  #mayBeTaken({ id, idGenerated }: NewMessage): boolean {
    const { timers } = this.#core;
    return timers.any && idGenerated !== true && timers.mayHoldId(stableHash(id));
  }

  async #taken(name: string, messages: readonly NewMessage[]): Promise<Set<string>> {
    const taken = new Set<string>();
    for (const message of messages) {
      const topic = this.#core.fold.topics.named(name);
      if (!topic || !this.#mayBeTaken(message)) continue;
      if (await this.#isScheduled(topic, message.id)) taken.add(message.id);
    }
    return taken;
  }

  async #isScheduled(topic: TopicState, id: string): Promise<boolean> {
    for (const timer of await this.#core.timers.findIds(stableHash(id))) {
      if (timer.topicGen !== topic.generation) continue;
      if ((await this.#idOf(timer)) !== id) continue;
      const state = await this.#core.timers.withState(timer, (found) => found);
      if (state === "scheduled") return true;
    }
    return false;
  }

  async #idOf({ bodyLogOffset: logOffset, size }: Timer): Promise<string | undefined> {
    const frame = await this.#store.log.read({ logOffset, size });
    const message = messageIn(frame);
    return message && decodeMessage(message.payload)?.id;
  }
}

export function idInUse(id: string): TidegateError {
  const detail = `Cannot publish a message as "${id}": a scheduled one has this id`;
  return new TidegateError("id-in-use", detail, { id });
}
