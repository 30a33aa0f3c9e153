/**
 * The topics of the fold: by name and by generation, with the offsets their
 * queues have reached at append.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8 } from "../../storage/base/bytes.ts";
import type { StoredTopicConfig } from "./definitions.ts";

export interface TopicState {
  readonly name: string;
  readonly generation: number;
  readonly createdAt: number;
  version: number;
  config: StoredTopicConfig;
  /** The logOffset of its last definition; 0 when a snapshot had it. */
  definedAt: number;
  /** Where the log describes it in full; 0: nowhere that is known, −1: this is not in full. */
  describedAt: number;
  /** By queue: the queueOffset of the next message appended; absent is 0. See {@linkcode setOffset}. */
  next: readonly number[];
  /** By queue: the first queueOffset that was not removed; absent is 0. */
  first: readonly number[];
  /** Where the first message left became visible while so many were removed, once somebody asked. */
  keptFrom: { readonly removed: number; readonly logOffset: number } | undefined;
  /** When retention looks at it again; Infinity while it has nothing. Not kept. */
  checkAt: number;
  /** The queue that got the last message without a key. Not kept: any start is as good. */
  lastQueue: number;
}

/** As it is when it is made, or when a description tells of it: without messages. */
export function newTopic(
  about: Pick<
    TopicState,
    "name" | "generation" | "createdAt" | "version" | "config" | "definedAt" | "describedAt"
  >,
): TopicState {
  const { name, generation, createdAt, version, config, definedAt, describedAt } = about;
  return {
    name: decodeUtf8(encodeUtf8(name)), // else it may be a piece of a request's text, and keep that
    generation,
    createdAt,
    version,
    config,
    definedAt,
    describedAt,
    next: NONE,
    first: NONE,
    keptFrom: undefined,
    checkAt: Infinity,
    lastQueue: -1,
  };
}

/** Of all topics that have no messages: most of a million of them, with two lists each. */
const NONE: readonly number[] = Object.freeze([]);

/** The offsets with that of one queue, which may be another list than before. */
export function setOffset(
  offsets: readonly number[],
  { queueId, offset }: { readonly queueId: number; readonly offset: number },
): readonly number[] {
  const own = offsets === NONE ? [] : (offsets as number[]);
  own[queueId] = offset;
  return own;
}

export class TopicTable {
  readonly #byName = new Map<string, TopicState>();
  readonly #byGeneration = new Map<number, TopicState>();

  named(name: string): TopicState | undefined {
    return this.#byName.get(name);
  }

  of(generation: number): TopicState | undefined {
    return this.#byGeneration.get(generation);
  }

  add(topic: TopicState): void {
    this.#byName.set(topic.name, topic);
    this.#byGeneration.set(topic.generation, topic);
  }

  remove(topic: TopicState): void {
    this.#byName.delete(topic.name);
    this.#byGeneration.delete(topic.generation);
  }

  all(): Iterable<TopicState> {
    return this.#byGeneration.values();
  }

  get count(): number {
    return this.#byName.size;
  }

  names(): readonly string[] {
    return [...this.#byName.keys()].sort();
  }
}
