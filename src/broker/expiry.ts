/**
 * Removing what a topic's retention does not keep, as a source of the clock timer.
 *
 *   unscheduled ──a message──▶ scheduled ──its time──▶ looked at ──▶ cut, or nothing to cut
 *        ▲                                                 │ something is left: when
 *        └──────────── nothing is left ────────────────────┴─────▶ its oldest is over
 *
 * A look reads the first unit left of each queue, so topics cost nothing between
 * their looks. One by one, and other work runs between: a cut waits until the one
 * before is confirmed, so whatever is late cannot flood the log.
 *
 * A message goes when it is older than the topic keeps it, or than any on this node
 * is kept; at most a hundredth of that age later, and at most a minute. Never before.
 *
 * @module
 */

import { Heap } from "../../storage/base/heap.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { Core } from "./core.ts";
import { cutTopic } from "./cut.ts";
import { StoredBytes } from "./stored_bytes.ts";
import type { TimerSource } from "./timer_core.ts";
import type { TopicState } from "./topics.ts";

/** Between two looks at a topic whose oldest message is over, or that has a bound in bytes. */
const LOOK_MS = { min: 1000, max: 60_000, bytes: 10_000 } as const;
const COUNT_UNITS = 1000;
/** Entries of other times, kept for free. */
const STALE = 1024;

interface ExpiryPorts {
  readonly store: MessageStore;
  /** A message is kept no longer, whatever its topic says. */
  readonly retentionMaxMs: number;
  now(): number;
  pause(): Promise<void>;
  confirmed(): Promise<void>;
  arm(): void;
  /** Messages of the topic went. */
  onCut(topic: TopicState): void;
  report(error: Error): void;
}

export class Expiry implements TimerSource {
  readonly #core: Core;
  readonly #ports: ExpiryPorts;
  /** By `checkAt`; entries of another time are stale. */
  readonly #due = new Heap<TopicState>();
  readonly #bytes = new WeakMap<TopicState, { readonly limit: number; stored: StoredBytes }>();
  #looking = false;
  #stopped = false;

  constructor(core: Core, ports: ExpiryPorts) {
    this.#core = core;
    this.#ports = ports;
  }

  /** Looks that are scheduled, stale ones included. */
  get size(): number {
    return this.#due.size;
  }

  get wakeAt(): number {
    return this.#looking || this.#stopped ? Infinity : this.#due.minKey;
  }

  /** Looks at each topic once nothing in the log can be younger than its bounds. */
  start(): void {
    const oldest = this.#ports.store.log.segments[0]?.firstStoredAt ?? 0;
    for (const topic of this.#core.fold.topics.all()) {
      if (this.#hasMessages(topic)) this.#schedule(topic, oldest + this.#ageMs(topic));
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** The topic got a message. */
  stored(topic: TopicState): void {
    if (topic.checkAt < Infinity) return;
    this.#schedule(topic, this.#ports.now() + this.#ageMs(topic));
  }

  /** The topic's retention changed. */
  redefined(topic: TopicState): void {
    if (this.#hasMessages(topic)) this.#schedule(topic, this.#ports.now());
  }

  #ageMs({ config }: TopicState): number {
    return Math.min(config.retention.timeMs ?? Infinity, this.#ports.retentionMaxMs);
  }

  #schedule(topic: TopicState, at: number): void {
    const bounded = topic.config.retention.bytes !== null;
    const soon = this.#ports.now() + LOOK_MS.bytes;
    topic.checkAt = bounded ? Math.min(at, soon) : at;
    if (topic.checkAt === Infinity) return; // kept for ever: every batch would schedule it again
    this.#due.push(topic.checkAt, topic);
    if (this.#due.size > 2 * this.#core.fold.topics.count + STALE) this.#due.retain(isCurrent);
  }

  run(now: number): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#lookAtDue(now)
      .catch((error: unknown) => {
        this.#ports.report(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        this.#looking = false;
        this.#ports.arm();
      });
  }

  async #lookAtDue(now: number): Promise<void> {
    while (this.#due.minKey <= now && !this.#stopped) {
      const at = this.#due.minKey;
      const topic = this.#due.pop();
      if (!topic || topic.checkAt !== at || !this.#isThere(topic)) continue;
      try {
        await this.#look(topic);
      } catch (error) {
        this.#schedule(topic, this.#ports.now() + LOOK_MS.max); // what it needs cannot be read now
        throw error;
      }
      await this.#ports.pause();
    }
  }

  #isThere(topic: TopicState): boolean {
    return this.#core.fold.topics.of(topic.generation) === topic;
  }

  async #look(topic: TopicState): Promise<void> {
    const now = this.#ports.now();
    const firsts = await this.#firstsAfter(topic, now - this.#ageMs(topic));
    if (!this.#isThere(topic) || this.#stopped) return;
    if (cutTopic(this.#core, { topic, firsts, cause: "retention", now }) > 0) {
      this.#ports.store.log.flush();
      this.#ports.onCut(topic);
      await this.#ports.confirmed();
    }
    const oldest = (await this.#oldest(topic)) ?? this.#ports.now();
    topic.checkAt = Infinity;
    if (!this.#hasMessages(topic)) return; // the next one tells
    const ageMs = this.#ageMs(topic);
    const waitMs = Math.min(LOOK_MS.max, Math.max(LOOK_MS.min, ageMs / 100));
    this.#schedule(topic, Math.max(oldest + ageMs + 1, this.#ports.now() + waitMs));
  }

  #hasMessages({ next, first }: TopicState): boolean {
    return next.some((end, queueId) => end > (first[queueId] ?? 0));
  }

  /** By queue: the first message of `time` or later, and within the topic's bound in bytes. */
  async #firstsAfter(topic: TopicState, time: number): Promise<number[]> {
    const { reader, log } = this.#ports.store;
    const cut = await this.#cutForBytes(topic);
    const firsts: number[] = [];
    for (let queueId = 0; queueId < topic.config.queues; queueId++) {
      const queue = { topicGen: topic.generation, queueId };
      const after = { by: "time", time, base: log.offsetAt(time) } as const;
      const young = await reader.seek(queue, after);
      const base = cut === undefined ? 0 : (log.segmentAt(cut)?.base ?? 0);
      const within =
        cut === undefined ? 0 : await reader.seek(queue, { by: "log", logOffset: cut, base });
      firsts.push(Math.max(young, within));
    }
    return firsts;
  }

  async #cutForBytes(topic: TopicState): Promise<number | undefined> {
    const { bytes: limit } = topic.config.retention;
    if (limit === null) return undefined;
    const { queues } = topic.config;
    let known = this.#bytes.get(topic);
    if (known?.limit !== limit) {
      const firsts = Array.from({ length: queues }, (_, queueId) => topic.first[queueId] ?? 0);
      known = { limit, stored: new StoredBytes({ limit, firsts }) };
      this.#bytes.set(topic, known);
    }
    for (let queueId = 0; queueId < queues; queueId++)
      await this.#count(topic, queueId, known.stored);
    return known.stored.cutFor(limit);
  }

  async #count({ generation: topicGen }: TopicState, queueId: number, stored: StoredBytes) {
    for (;;) {
      const from = stored.counted(queueId);
      const slice = await this.#ports.store.reader.read(
        { topicGen, queueId },
        { from, max: COUNT_UNITS },
      );
      if (slice.units.length === 0) return;
      stored.count(queueId, slice);
      await this.#ports.pause();
    }
  }

  /** When the oldest message that is left became visible; undefined when none is. */
  async #oldest(topic: TopicState): Promise<number | undefined> {
    let oldest: number | undefined;
    for (let queueId = 0; queueId < topic.config.queues; queueId++) {
      const queue = { topicGen: topic.generation, queueId };
      const from = topic.first[queueId] ?? 0;
      const [unit] = (await this.#ports.store.reader.read(queue, { from, max: 1 })).units;
      if (unit) oldest = Math.min(oldest ?? Infinity, unit.visibleAt);
    }
    return oldest;
  }
}

function isCurrent({ checkAt }: TopicState, at: number): boolean {
  return checkAt === at;
}
