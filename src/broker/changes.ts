/**
 * What of the fold changed since the last snapshot.
 *
 * @module
 */

import type { Change, Entry } from "../../storage/mod.ts";
import type { DeadLetterPlace } from "./dead_letters.ts";
import { Dirty } from "./dirty.ts";
import {
  Definition,
  encodeConfig,
  keyOf,
  Letter,
  Offsets,
  Place,
  placeOf,
  write,
} from "./entities.ts";
import type { GroupState, Subscription } from "./groups.ts";
import type { PopQueue } from "./pop_queue.ts";
import type { TopicState } from "./topics.ts";
import { fields } from "../../storage/mod.ts";

/** Every call comes before what it tells of: see dirty.ts. */
export class Changes {
  readonly #topics = new Dirty({ keyOf: topicKey, entryOf: topicEntry });
  readonly #offsets = new Dirty({ keyOf: offsetsKey, entryOf: offsetsEntry });
  readonly #firsts = new Dirty({ keyOf: firstsKey, entryOf: firstsEntry });
  readonly #groups = new Dirty({ keyOf: groupKey, entryOf: groupEntry });
  readonly #places = new Dirty({ keyOf: placeKey, entryOf: placeEntry });
  readonly #letters = new Dirty({ keyOf: letterKey, entryOf: letterEntry });

  topic(topic: TopicState): void {
    this.#topics.touch(topic);
  }

  offsets(topic: TopicState): void {
    this.#offsets.touch(topic);
  }

  firsts(topic: TopicState): void {
    this.#firsts.touch(topic);
  }

  group(group: GroupState): void {
    this.#groups.touch(group);
  }

  place(queue: PopQueue): void {
    this.#places.touch(queue);
  }

  letter(letter: DeadLetterPlace): void {
    this.#letters.touch(letter);
  }

  removeLetter(letter: DeadLetterPlace): void {
    this.#letters.remove(letter);
  }

  /** Another object is about to stand for the topic. */
  forgetTopic(topic: TopicState): void {
    for (const topics of this.#ofTopics()) topics.forget(topic);
  }

  /** Another object is about to stand for the group. */
  forgetGroup(group: GroupState): void {
    this.#groups.forget(group);
  }

  removeTopic(topic: TopicState): void {
    for (const topics of this.#ofTopics()) topics.remove(topic);
  }

  removeGroup(group: GroupState): void {
    this.#groups.remove(group);
  }

  removePlaces(subscription: Subscription): void {
    for (const queue of subscription.queues) {
      if (!queue) continue;
      this.#places.remove(queue);
      for (const letter of queue.dead.values()) this.removeLetter(letter);
    }
  }

  #ofTopics(): Dirty<TopicState>[] {
    return [this.#topics, this.#offsets, this.#firsts];
  }

  /** As it stands now, whenever it is read. */
  take(lastGeneration: number): Iterable<Change>[] {
    const last: Change = [keyOf("A"), write(fields.u64, lastGeneration)];
    const kinds = [...this.#ofTopics(), this.#groups, this.#places, this.#letters];
    return [[last], ...kinds.map((kind) => kind.take())];
  }

  clear(): void {
    for (const topics of this.#ofTopics()) topics.clear();
    this.#groups.clear();
    this.#places.clear();
    this.#letters.clear();
  }
}

// Entities as they stand now, for snapshots and `state` records.

export function topicEntry(topic: TopicState): Entry {
  return [topicKey(topic), define(topic)];
}

export function offsetsEntry(topic: TopicState): Entry {
  return [offsetsKey(topic), write(Offsets, dense(topic.next))];
}

export function firstsEntry(topic: TopicState): Entry {
  return [firstsKey(topic), write(Offsets, dense(topic.first))];
}

export function groupEntry(group: GroupState): Entry {
  return [groupKey(group), define(group)];
}

export function placeEntry(queue: PopQueue): Entry {
  return [placeKey(queue), write(Place, placeOf(queue))];
}

export function letterEntry(letter: DeadLetterPlace): Entry {
  return [letterKey(letter), write(Letter, letter)];
}

function define(entity: TopicState | GroupState): Uint8Array {
  const { name, version, createdAt } = entity;
  return write(Definition, { name, version, createdAt, config: encodeConfig(entity.config) });
}

function dense(offsets: readonly (number | undefined)[]): number[] {
  return Array.from(offsets, (offset) => offset ?? 0);
}

function topicKey({ generation }: TopicState): Uint8Array {
  return keyOf("D", [generation]);
}

function offsetsKey({ generation }: TopicState): Uint8Array {
  return keyOf("N", [generation]);
}

function firstsKey({ generation }: TopicState): Uint8Array {
  return keyOf("H", [generation]);
}

function groupKey({ generation }: GroupState): Uint8Array {
  return keyOf("G", [generation]);
}

function placeKey({ subscription, topicGen, queueId }: PopQueue): Uint8Array {
  return keyOf("P", [subscription.group.generation, topicGen], queueId);
}

function letterKey({ queue, queueOffset }: DeadLetterPlace): Uint8Array {
  const { subscription, topicGen, queueId } = queue;
  return keyOf("L", [subscription.group.generation, topicGen, queueOffset], queueId);
}
