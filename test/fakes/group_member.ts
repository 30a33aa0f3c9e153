/**
 * One consumer group of the fake broker: what it subscribes to, how far it has
 * come there, and whom it would give what.
 *
 * @module
 */

import type { Delivery, Group, GroupConfig, ReceiveRequest } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { compile, type Matches } from "./filter.ts";
import { type Dead, type Entry, Progress, type Rules } from "./group_progress.ts";
import { receiptOf } from "./group_settle.ts";
import type { FakeTopics } from "./topics.ts";

export interface MemberWorld {
  readonly topics: FakeTopics;
  now(): number;
  /** A number that was not given before: of a grant, or a dead letter. */
  serial(): number;
}

export interface Ready {
  readonly progress: Progress;
  readonly index: number;
}

export class Member {
  group: Group;
  /** Receives that wait. */
  readonly waiting = new Set<ReceiveRequest>();
  readonly #world: MemberWorld;
  /** By subscribed topic; undefined until there is one of that name. */
  readonly #progress = new Map<string, Progress | undefined>();
  #matches: ReadonlyMap<string, Matches> = new Map();

  constructor(group: Group, world: MemberWorld) {
    this.group = group;
    this.#world = world;
    this.define(group);
  }

  /** @throws `filter-invalid`, `topic-not-found`; then nothing has changed. */
  define(group: Group): void {
    const { subscriptions } = group;
    const matches = subscriptions.map((one) => [one.topic, compiled(one)] as const);
    if (!this.#world.topics.autoCreate) for (const { topic } of subscriptions) this.#life(topic);
    this.group = group;
    this.#matches = new Map(matches);
    for (const topic of this.#progress.keys()) {
      if (!this.#matches.has(topic)) this.#progress.delete(topic);
    }
    for (const { topic } of subscriptions) {
      if (!this.#progress.has(topic)) this.#progress.set(topic, this.#begin(topic));
    }
  }

  get topics(): readonly string[] {
    return [...this.#progress.keys()];
  }

  /** Of one subscription; a topic that was made again is read from its beginning. */
  progressOf(topic: string): Progress | undefined {
    if (!this.#progress.has(topic)) return undefined;
    const known = this.#progress.get(topic);
    const life = this.#world.topics.find(topic);
    if (known?.life === life) {
      known?.passRemoved();
      return known;
    }
    const made = life && new Progress(life);
    this.#progress.set(topic, made);
    return made;
  }

  all(): readonly Progress[] {
    return this.topics.flatMap((topic) => this.progressOf(topic) ?? []);
  }

  /** @throws `topic-not-found` when it is not subscribed to. */
  subscribed(topic: string): void {
    if (this.#progress.has(topic)) return;
    throw new TidegateError("topic-not-found", `"${topic}" is not subscribed to`);
  }

  /** Buries what had its last attempt. */
  look(): void {
    for (const progress of this.all()) {
      const usedUp = progress.usedUp(this.#world.now(), this.#rules(progress));
      for (const entry of usedUp) this.bury(progress, entry, { cause: "attempts", reason: "" });
    }
  }

  bury(progress: Progress, entry: Entry, why: Pick<Dead, "cause" | "reason">): void {
    entry.state = "dead";
    const [serial, deadAt] = [this.#world.serial(), this.#world.now()];
    progress.dead.set(entry.index, { ...why, serial, attempts: entry.attempt, deadAt });
  }

  /** What a receive would be given now, paused or not; `pass` is told what a filter leaves out on the way. */
  ready(wish: {
    readonly max: number;
    readonly maxBytes: number;
    readonly topic?: string | undefined;
    pass(progress: Progress, index: number): void;
  }): Ready[] {
    if (wish.topic !== undefined) this.subscribed(wish.topic);
    const now = this.#world.now();
    const live = this.all().reduce((sum, progress) => sum + progress.live(now).length, 0);
    const room = Math.min(wish.max, this.group.maxInFlight - live);
    const ready: Ready[] = [];
    let bytes = 0;
    for (const progress of this.all()) {
      if (wish.topic !== undefined && progress.topic !== wish.topic) continue;
      const pass = (index: number) => wish.pass(progress, index);
      for (const index of progress.ready(now, { rules: this.#rules(progress), pass })) {
        bytes += progress.stored(index).payload.length;
        if (ready.length >= room || (ready.length > 0 && bytes > wish.maxBytes)) return ready;
        ready.push({ progress, index });
      }
    }
    return ready;
  }

  grant(request: ReceiveRequest): Delivery[] {
    const now = this.#world.now();
    const { attemptId, consumerId, consumerMaxInFlight } = request;
    if (request.topic !== undefined) this.subscribed(request.topic);
    const mine = this.#held((entry) => consumerId !== undefined && entry.consumerId === consumerId);
    if (request.reopen && mine.length > 0) return mine;
    const again = this.#held((entry) => attemptId !== undefined && entry.attemptId === attemptId);
    if (again.length > 0 || this.group.paused) return again;
    const credit = consumerId === undefined ? undefined : consumerMaxInFlight;
    const max = Math.min(request.max, (credit ?? Number.POSITIVE_INFINITY) - mine.length);
    if (max <= 0) return [];
    const pass = (progress: Progress, index: number) => void progress.entry(index);
    const until = now + (request.leaseMs ?? this.group.leaseMs);
    return this.ready({ ...request, max, pass }).map(({ progress, index }) => {
      const entry = progress.entry(index);
      const grant = this.#world.serial();
      Object.assign(entry, { state: "leased", until, grant, attemptId, consumerId });
      entry.attempt++;
      return this.#delivery(progress, entry);
    });
  }

  /** Live leases, to be handed out again. */
  #held(isMeant: (entry: Entry) => boolean): Delivery[] {
    return this.all().flatMap((progress) =>
      progress
        .live(this.#world.now())
        .filter(isMeant)
        .map((entry) => this.#delivery(progress, entry)),
    );
  }

  #delivery(progress: Progress, entry: Entry): Delivery {
    const receipt = receiptOf(this.group.generation, progress, entry);
    const { attempt, until: leaseUntil } = entry;
    return { ...progress.stored(entry.index), receipt, attempt, leaseUntil };
  }

  #rules({ topic }: Progress): Rules {
    const { mode, maxAttempts } = this.group;
    const matches = this.#matches.get(topic) ?? (() => true);
    return { ordered: mode === "ordered", maxAttempts, matches };
  }

  #begin(topic: string): Progress | undefined {
    const life = this.#world.topics.find(topic);
    if (life === undefined) return undefined;
    const progress = new Progress(life);
    if (this.group.startFrom === "latest") {
      for (const [queueId, end] of life.ends.entries()) progress.move(queueId, end);
    }
    return progress;
  }

  #life(topic: string): void {
    this.#world.topics.life(topic);
  }
}

/** @throws `filter-invalid`, saying whose. */
function compiled({ topic, filter }: GroupConfig["subscriptions"][number]): Matches {
  try {
    return compile(filter);
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error;
    throw new TidegateError(error.code, error.message, { ...error.details, topic }, error);
  }
}
