/**
 * What of the fold changed since the last snapshot.
 *
 * @module
 */

import type { Change } from "../../storage/mod.ts";
import type { DeadLetterPlace } from "./dead_letters.ts";
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

export class Changes {
  readonly #topics = new Set<TopicState>();
  readonly #offsets = new Set<TopicState>();
  readonly #groups = new Set<GroupState>();
  readonly #places = new Set<PopQueue>();
  readonly #letters = new Set<DeadLetterPlace>();
  #removed: Uint8Array[] = [];

  topic(topic: TopicState): void {
    this.#topics.add(topic);
  }

  offsets(topic: TopicState): void {
    this.#offsets.add(topic);
  }

  group(group: GroupState): void {
    this.#groups.add(group);
  }

  place(queue: PopQueue): void {
    this.#places.add(queue);
  }

  letter(letter: DeadLetterPlace): void {
    this.#letters.add(letter);
  }

  removeLetter(letter: DeadLetterPlace): void {
    this.#letters.delete(letter);
    this.#removed.push(letterKey(letter));
  }

  removeTopic(topic: TopicState): void {
    this.#topics.delete(topic);
    this.#offsets.delete(topic);
    this.#removed.push(keyOf("D", [topic.generation]), keyOf("N", [topic.generation]));
  }

  removeGroup(group: GroupState): void {
    this.#groups.delete(group);
    this.#removed.push(keyOf("G", [group.generation]));
  }

  removePlaces(subscription: Subscription): void {
    for (const queue of subscription.queues) {
      if (!queue) continue;
      this.#places.delete(queue);
      this.#removed.push(placeKey(queue));
      for (const letter of queue.dead.values()) this.removeLetter(letter);
    }
  }

  take(lastGeneration: number): Change[] {
    const changes: Change[] = this.#removed.map((key) => [key, undefined]);
    changes.push([keyOf("A"), write(fields.u64, lastGeneration)]);
    for (const topic of this.#topics) changes.push([keyOf("D", [topic.generation]), define(topic)]);
    for (const topic of this.#offsets) {
      const next = Array.from(topic.next, (offset) => offset ?? 0);
      changes.push([keyOf("N", [topic.generation]), write(Offsets, next)]);
    }
    for (const group of this.#groups) changes.push([keyOf("G", [group.generation]), define(group)]);
    for (const queue of this.#places) {
      changes.push([placeKey(queue), write(Place, placeOf(queue))]);
    }
    for (const letter of this.#letters) changes.push([letterKey(letter), write(Letter, letter)]);
    this.clear();
    return changes;
  }

  clear(): void {
    this.#topics.clear();
    this.#offsets.clear();
    this.#groups.clear();
    this.#places.clear();
    this.#letters.clear();
    this.#removed = [];
  }
}

function define(entity: TopicState | GroupState): Uint8Array {
  const { name, version, createdAt } = entity;
  return write(Definition, { name, version, createdAt, config: encodeConfig(entity.config) });
}

function placeKey({ subscription, topicGen, queueId }: PopQueue): Uint8Array {
  return keyOf("P", [subscription.group.generation, topicGen], queueId);
}

function letterKey({ queue, queueOffset }: DeadLetterPlace): Uint8Array {
  const { subscription, topicGen, queueId } = queue;
  return keyOf("L", [subscription.group.generation, topicGen, queueOffset], queueId);
}
