/**
 * What of the fold changed since the last snapshot.
 *
 * @module
 */

import type { Change, Entry } from "../../storage/mod.ts";
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
  readonly #firsts = new Set<TopicState>();
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

  firsts(topic: TopicState): void {
    this.#firsts.add(topic);
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

  /** Another object stands for the topic. */
  forgetTopic(topic: TopicState): void {
    for (const topics of [this.#topics, this.#offsets, this.#firsts]) topics.delete(topic);
  }

  /** Another object stands for the group. */
  forgetGroup(group: GroupState): void {
    this.#groups.delete(group);
  }

  removeTopic(topic: TopicState): void {
    this.#topics.delete(topic);
    this.#offsets.delete(topic);
    this.#firsts.delete(topic);
    for (const prefix of ["D", "H", "N"]) this.#removed.push(keyOf(prefix, [topic.generation]));
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
    for (const topic of this.#topics) changes.push(topicEntry(topic));
    for (const topic of this.#offsets) changes.push(offsetsEntry(topic));
    for (const topic of this.#firsts) changes.push(firstsEntry(topic));
    for (const group of this.#groups) changes.push(groupEntry(group));
    for (const queue of this.#places) changes.push(placeEntry(queue));
    for (const letter of this.#letters) changes.push(letterEntry(letter));
    this.clear();
    return changes;
  }

  clear(): void {
    this.#topics.clear();
    this.#offsets.clear();
    this.#firsts.clear();
    this.#groups.clear();
    this.#places.clear();
    this.#letters.clear();
    this.#removed = [];
  }
}

// Entities as they stand now, for snapshots and `state` records.

export function topicEntry(topic: TopicState): Entry {
  return [keyOf("D", [topic.generation]), define(topic)];
}

export function offsetsEntry({ generation, next }: TopicState): Entry {
  return [keyOf("N", [generation]), write(Offsets, dense(next))];
}

export function firstsEntry({ generation, first }: TopicState): Entry {
  return [keyOf("H", [generation]), write(Offsets, dense(first))];
}

export function groupEntry(group: GroupState): Entry {
  return [keyOf("G", [group.generation]), define(group)];
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

function placeKey({ subscription, topicGen, queueId }: PopQueue): Uint8Array {
  return keyOf("P", [subscription.group.generation, topicGen], queueId);
}

function letterKey({ queue, queueOffset }: DeadLetterPlace): Uint8Array {
  const { subscription, topicGen, queueId } = queue;
  return keyOf("L", [subscription.group.generation, topicGen, queueOffset], queueId);
}
