/**
 * What all parts of the router share, and what they ask of it together: a topic that
 * can be used, and where it is.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { DEFAULT_TOPIC, noGroup, noTopic } from "../broker/definitions.ts";
import type { BrokerGroupApi, StopSignal } from "../broker/api.ts";
import { Copies } from "./copies.ts";
import { type GroupDefinition, placeTopic, type TopicDefinition } from "./definition.ts";
import { Definitions } from "./definitions.ts";
import { FaultTolerance } from "./fault_tolerance.ts";
import { type CallWish, Members } from "./members.ts";
import type { CheckRulesPort, RoutedOptions, RoutedPorts } from "./ports.ts";

export class Cluster {
  readonly definitions: Definitions;
  readonly members: Members;
  readonly copies: Copies;
  readonly faults = new FaultTolerance();
  readonly clock: Clock;
  readonly autoCreate: boolean;
  readonly delayMaxMs: number;
  readonly checks: CheckRulesPort | undefined;
  readonly #waits = new Set<() => void>();
  #draining = false;

  constructor(ports: RoutedPorts, options: RoutedOptions) {
    this.clock = ports.clock;
    this.autoCreate = options.autoCreate;
    this.delayMaxMs = options.delayMaxMs;
    this.checks = ports.checks;
    this.definitions = new Definitions(ports);
    this.members = new Members(ports, options);
    const { members, definitions } = this;
    this.copies = new Copies({ members, definitions }, ports);
  }

  /** Waits have ended, and none begin. */
  get isDraining(): boolean {
    return this.#draining;
  }

  /** Waits end now; those that come return at once. */
  drain(): void {
    this.#draining = true;
    for (const end of [...this.#waits]) end();
  }

  /** A wait that ends when its caller leaves, or when this gateway does; it leaves nothing with either. */
  async waiting<T>(
    signal: StopSignal | undefined,
    wait: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const over = new AbortController();
    const end = () => over.abort();
    if (signal?.aborted || this.#draining) end();
    signal?.addEventListener("abort", end);
    this.#waits.add(end);
    try {
      return await wait(over.signal);
    } finally {
      signal?.removeEventListener("abort", end);
      this.#waits.delete(end);
    }
  }

  close(): void {
    this.drain();
    this.copies.close();
    this.definitions.close();
  }

  /** @throws `topic-not-found` */
  async topic(name: string): Promise<TopicDefinition> {
    const topic = await this.definitions.find("topic", name);
    if (!topic) throw noTopic(name);
    return topic;
  }

  /** @throws `group-not-found` */
  async group(name: string): Promise<GroupDefinition> {
    const group = await this.definitions.find("group", name);
    if (!group) throw noGroup(name);
    return group;
  }

  /** The topic to publish to, created when unknown and allowed. */
  async topicForPublish(name: string): Promise<TopicDefinition> {
    const topic = await this.definitions.find("topic", name);
    if (topic) return topic;
    if (!this.autoCreate) throw noTopic(name);
    return (await this.makeTopic(name, DEFAULT_TOPIC)).topic;
  }

  /** Makes it unless there is one of that name, and says which. @throws `unavailable`, `outcome-unknown` */
  async makeTopic(
    name: string,
    config: TopicDefinition["config"],
  ): Promise<{ readonly created: boolean; readonly topic: TopicDefinition }> {
    for (;;) {
      const known = await this.definitions.read("topic", name);
      if (known) return { created: false, topic: known };
      const groups = await this.#place(name, config.queues);
      const generation = await this.definitions.nextGeneration();
      const about = {
        kind: "topic",
        name,
        generation,
        version: 1,
        spread: 0,
        revision: 0,
      } as const;
      const createdAt = this.clock.now();
      const topic = await this.definitions.write({ ...about, createdAt, config, groups });
      if (!topic) continue;
      await this.copies.offer(topic);
      return { created: true, topic };
    }
  }

  async #place(name: string, queues: number): Promise<readonly number[]> {
    const among = await this.members.groups().catch((error: unknown) => {
      const detail = "Cannot place the topic: the coordinator does not answer";
      throw new TidegateError("unavailable", detail, { coordinator: true }, error);
    });
    if (among.length === 0) {
      throw new TidegateError("unavailable", "Cannot place the topic: there is no broker group");
    }
    // One that is away now would keep the topic waiting, and all that is published to it.
    const present = among.filter((group) => this.members.leader(group) !== undefined);
    const groups = placeTopic(name, { queues, among: present.length > 0 ? present : among });
    await this.copies.introduce(groups);
    return groups;
  }

  /** Does something about a topic; once more where the topic turns out to be another, or elsewhere. */
  async onTopic<T>(name: string, work: (topic: TopicDefinition) => Promise<T>): Promise<T> {
    const topic = await this.topic(name);
    try {
      return await work(topic);
    } catch (error) {
      if (!(error instanceof TidegateError) || !isMoved(error)) throw error;
      const now = await this.definitions.read("topic", name);
      if (!now) throw noTopic(name);
      if (now.generation === topic.generation && now.version === topic.version) throw error;
      return await work(now);
    }
  }

  /** Asks a broker group about a topic it has, which it is given first where it has it not. */
  async ask<T>(topic: TopicDefinition, wish: CallWish<T>): Promise<T> {
    const { group, deadline } = wish;
    if (!this.copies.has(topic, group)) await this.copies.ensure(topic, { group, deadline });
    return await this.members.call(wish);
  }

  /** Asks all broker groups that have queues of the topic; answers in their order. */
  askAll<T>(
    topic: TopicDefinition,
    ask: (broker: BrokerGroupApi, group: number) => Promise<T>,
    rest: Omit<CallWish<T>, "group" | "ask"> = {},
  ): Promise<T[]> {
    const deadline = rest.deadline ?? this.members.deadline();
    return Promise.all(
      topic.groups.map((group) =>
        this.ask(topic, { ...rest, deadline, group, ask: (broker) => ask(broker, group) }),
      ),
    );
  }
}

/** What was known of the topic does not hold any more: it is another, or elsewhere. */
export function isMoved({ code, details }: TidegateError): boolean {
  return code === "topic-not-found" || details["misplaced"] === true;
}

/** What this build does not do over several broker groups. */
export function overSeveralGroups(what: string, feature: string): TidegateError {
  const detail = `Cannot ${what}: it would need more than one broker group, which this build does not do`;
  return new TidegateError("not-implemented", detail, { feature });
}

/** Of a call that does not wait, all its caller could still end is what it has left already. */
export function leftAlready(signal: StopSignal | undefined): AbortSignal | undefined {
  return signal?.aborted ? AbortSignal.abort() : undefined;
}
