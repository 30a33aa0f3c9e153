/**
 * Whose turn it is to get a message that may go to any broker group of its topic: by
 * the turn of the queues, so that all fill alike, but for those that are avoided.
 *
 * @module
 */

import { ownerOf, type TopicDefinition } from "./definition.ts";

/** Topics whose turn is remembered; of others any start is as good. */
const REMEMBERED_MAX = 100_000;

export class Turns {
  /** By topic generation: the queue of the last turn. */
  readonly #last = new Map<number, number>();

  next(topic: TopicDefinition, isAvoided: (group: number) => boolean): number {
    const { groups, generation, config } = topic;
    if (groups.length === 1) return groups[0] as number;
    let queueId = this.#last.get(generation) ?? -1;
    for (let tries = 0; tries < groups.length; tries++) {
      queueId = (queueId + 1) % config.queues;
      if (!isAvoided(ownerOf(topic, queueId))) break;
    }
    this.#remember(generation, queueId);
    return ownerOf(topic, queueId);
  }

  #remember(generation: number, queueId: number): void {
    if (this.#last.size >= REMEMBERED_MAX && !this.#last.has(generation)) {
      this.#last.delete(this.#last.keys().next().value as number);
    }
    this.#last.set(generation, queueId);
  }
}
