/**
 * The topics of the fake broker, each with its log.
 *
 * @module
 */

import type {
  Page,
  StoredMessage,
  Topic,
  TopicConfig,
  TopicPatch,
  TopicsApi,
} from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Wakeups } from "./wakeups.ts";

/** A topic from its creation to its deletion. */
export interface Life {
  topic: Topic;
  readonly log: StoredMessage[];
  /** By queue: the next queueOffset. */
  readonly ends: number[];
  /** The first log index that is still kept. */
  first: number;
  /** Below this one, a purge removed what retention had not. */
  purged: number;
}

export const TOPIC_DEFAULTS: TopicConfig = {
  queues: 4,
  messageType: "mixed",
  acks: "durable",
  retention: { timeMs: 259_200_000, bytes: null },
  description: "",
};

export class FakeTopics implements TopicsApi {
  readonly #lives = new Map<string, Life>();
  readonly autoCreate: boolean;
  readonly #now: () => number;
  readonly #wakeups: Wakeups;
  #generation = 0;
  /** Called before a topic is looked at. */
  beforeUse: () => void = () => {};
  /** Called before a topic is deleted; may refuse. */
  beforeDelete: (life: Life, force: boolean) => void = () => {};

  constructor(options: { autoCreate: boolean; now: () => number; wakeups: Wakeups }) {
    this.autoCreate = options.autoCreate;
    this.#now = options.now;
    this.#wakeups = options.wakeups;
  }

  find(name: string): Life | undefined {
    const life = this.#lives.get(name);
    if (life) this.#expire(life);
    return life;
  }

  life(name: string): Life {
    this.beforeUse();
    const life = this.find(name);
    if (life !== undefined) return life;
    throw new TidegateError("topic-not-found", `Cannot find the topic "${name}"`);
  }

  /** @throws `topic-not-found` when it can neither be found nor made. */
  check(name: string): void {
    if (!this.autoCreate) this.life(name);
  }

  /** Removes what is older than the topic keeps it, as late as is promised at most. */
  #expire(life: Life): void {
    const timeMs = life.topic.retention.timeMs ?? Infinity;
    const oldest = this.#now() - timeMs - Math.min(60_000, timeMs / 100);
    const young = life.log.findIndex(({ publishedAt }) => publishedAt >= oldest);
    life.first = Math.max(life.first, young < 0 ? life.log.length : young);
  }

  forPublish(name: string): Life {
    if (this.autoCreate && !this.#lives.has(name)) this.#create(name, TOPIC_DEFAULTS);
    return this.life(name);
  }

  /** What retention does: the first `count` messages are gone. */
  expire(name: string, count: number): void {
    this.life(name).first = count;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async purge(name: string): Promise<number> {
    const life = this.life(name);
    const removed = life.log.length - life.first;
    life.first = life.purged = life.log.length;
    return removed;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async put(name: string, config: TopicConfig): Promise<{ created: boolean; topic: Topic }> {
    const known = this.#lives.get(name);
    if (known === undefined) return { created: true, topic: this.#create(name, config) };
    if (same(known.topic, config)) return { created: false, topic: shown(known) };
    throw new TidegateError("topic-exists", `Cannot create "${name}": it exists and differs`);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async get(name: string): Promise<Topic> {
    return shown(this.life(name));
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async patch(name: string, change: TopicPatch): Promise<Topic> {
    const life = this.life(name);
    const { topic } = life;
    if (change.messageType !== undefined && change.messageType !== topic.messageType) {
      throw new TidegateError("immutable-field", "Cannot change messageType: it is fixed");
    }
    const queues = change.queues ?? topic.queues;
    if (queues < topic.queues || (queues > topic.queues && topic.messageType === "fifo")) {
      throw new TidegateError("key-order", `Cannot change queues of "${name}" to ${queues}`);
    }
    life.topic = {
      ...topic,
      queues,
      acks: change.acks ?? topic.acks,
      retention: { ...topic.retention, ...change.retention },
      description: change.description ?? topic.description,
    };
    while (life.ends.length < queues) life.ends.push(0);
    return shown(life);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async delete(name: string, { force = false }: { force?: boolean | undefined } = {}) {
    this.beforeDelete(this.life(name), force);
    this.#lives.delete(name);
    this.#wakeups.wake();
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async list(page: Page): Promise<{ topics: readonly Topic[]; next?: string | undefined }> {
    const names = [...this.#lives.keys()].filter((name) => name > (page.after ?? "")).toSorted();
    const topics = names.slice(0, page.limit).map((name) => shown(this.life(name)));
    return { topics, next: names.length > page.limit ? topics.at(-1)?.name : undefined };
  }

  #create(name: string, config: TopicConfig): Topic {
    const about = { name, generation: ++this.#generation, createdAt: this.#now(), endOffsets: [] };
    const ends = Array.from({ length: config.queues }, () => 0);
    const life: Life = { topic: { ...config, ...about }, log: [], ends, first: 0, purged: 0 };
    this.#lives.set(name, life);
    return shown(life);
  }
}

function shown({ topic, ends }: Life): Topic {
  return { ...topic, endOffsets: [...ends] };
}

function same(a: TopicConfig, b: TopicConfig): boolean {
  return (
    a.queues === b.queues &&
    a.messageType === b.messageType &&
    a.acks === b.acks &&
    a.description === b.description &&
    a.retention.timeMs === b.retention.timeMs &&
    a.retention.bytes === b.retention.bytes
  );
}
