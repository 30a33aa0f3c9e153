/**
 * Sending to the broker group that what is sent must go to, or, where any will do, to
 * each in turn, rather to one that is well.
 *
 *   where it may go            nothing took effect      outcome unknown
 *   anywhere                   another broker group     is said
 *   to one                     waits for a leader       is said
 *   to one, and is recognised  waits for a leader       tried again there
 *
 * What is recognised when it comes again (a key, a sequence) always has a queue it must
 * go to, so a repeat meets the first one.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { BrokerGroupApi, NewMessage } from "../broker/api.ts";
import { delayFault, fixedQueue, isDelayed, sizeFault } from "../broker/placing.ts";
import { type Cluster, isMoved } from "./cluster.ts";
import { ownerOf, type TopicDefinition } from "./definition.ts";
import { isAway } from "./members.ts";
import { Turns } from "./turns.ts";

export interface Sent<T> {
  /** The broker group it must go to; undefined: any. */
  fixed(topic: TopicDefinition): number | undefined;
  /** Why it would be refused anywhere; asked before a topic is made for it. */
  fault(): TidegateError | undefined;
  /** Running twice is running once. */
  readonly repeatable: boolean;
  send(broker: BrokerGroupApi): Promise<T>;
}

/** How long what may go anywhere stays with one broker group that has no leader, or failed. */
const PATIENCE_MS = 500;
/** A topic that changes meanwhile is looked at again so often. */
const CHANGES_MAX = 5;

export class Sender {
  readonly #cluster: Cluster;
  readonly #turns = new Turns();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** @throws `unavailable` when there was no leader for as long as a call is patient. */
  async send<T>(name: string, sent: Sent<T>): Promise<T> {
    const { members, clock, definitions } = this.#cluster;
    const deadline = members.deadline();
    const failed = new Set<number>();
    for (let changes = 0; ; ) {
      const topic = await this.#topicFor(name, sent);
      const fixed = sent.fixed(topic);
      const group = fixed ?? this.next(topic);
      const short = fixed === undefined ? this.#patience(group, failed) : Infinity;
      try {
        return await this.#try(topic, { ...sent, group, deadline: Math.min(deadline, short) });
      } catch (error) {
        if (!(error instanceof TidegateError)) throw error;
        if (isMoved(error) && changes++ < CHANGES_MAX) {
          await definitions.read("topic", name);
          continue;
        }
        failed.add(group);
        const over = clock.elapsed() >= deadline || failed.size >= topic.groups.length;
        const full = isFull(error) && !over;
        const away = isRefusal(error) && clock.elapsed() < deadline;
        if (fixed !== undefined || !(full || away)) throw error;
      }
    }
  }

  async #try<T>(
    topic: TopicDefinition,
    sent: Sent<T> & { readonly group: number; readonly deadline: number },
  ): Promise<T> {
    const { group, deadline, repeatable } = sent;
    const sentAt = this.#cluster.clock.elapsed();
    const ask = (broker: BrokerGroupApi) => sent.send(broker);
    try {
      const answer = await this.#cluster.ask(topic, { group, deadline, repeatable, ask });
      this.answered(group, sentAt);
      return answer;
    } catch (error) {
      if (error instanceof TidegateError && isAway(error)) this.failed(group);
      throw error;
    }
  }

  /** With a leader it is tried once and at once; without one, or after that, it gets a moment. */
  #patience(group: number, failed: ReadonlySet<number>): number {
    const { members, clock } = this.#cluster;
    const isTriedOnce = members.leader(group) !== undefined && !failed.has(group);
    return clock.elapsed() + (isTriedOnce ? 0 : PATIENCE_MS);
  }

  async #topicFor<T>(name: string, sent: Sent<T>): Promise<TopicDefinition> {
    const known = await this.#cluster.definitions.find("topic", name);
    if (known) return known;
    const fault = this.#cluster.autoCreate ? sent.fault() : undefined;
    if (fault) throw fault;
    return await this.#cluster.topicForPublish(name);
  }

  next(topic: TopicDefinition): number {
    const { faults, clock } = this.#cluster;
    const now = clock.elapsed();
    return this.#turns.next(topic, (group) => faults.isAvoided(group, now));
  }

  answered(group: number, sentAt: number): void {
    const now = this.#cluster.clock.elapsed();
    this.#cluster.faults.answered(group, { latencyMs: now - sentAt, now });
  }

  failed(group: number): void {
    this.#cluster.faults.failed(group, this.#cluster.clock.elapsed());
  }

  /** What is wrong with a message whatever its topic. */
  faultOf(message: NewMessage): TidegateError | undefined {
    const { clock, delayMaxMs } = this.#cluster;
    return sizeFault(message) ?? delayFault({ delayMaxMs }, { message, now: clock.now() });
  }
}

/**
 * Where a message must go; undefined: anywhere. A delayed one without a key goes by the id
 * its producer gave it, so that two scheduled with one id meet, and one is refused.
 */
export function fixedGroup(topic: TopicDefinition, message: NewMessage): number | undefined {
  if (topic.groups.length === 1) return topic.groups[0];
  const { queues } = topic.config;
  const queueId = fixedQueue(message, queues);
  if (queueId !== undefined) return ownerOf(topic, queueId);
  if (!isDelayed(message) || message.idGenerated) return undefined;
  return ownerOf(topic, stableHash(message.id) % queues);
}

/** A message that is recognised when it comes again. */
export function isRecognised({ idempotencyKey, producer }: NewMessage): boolean {
  return idempotencyKey !== undefined || producer !== undefined;
}

/** It has no room; another broker group may have. */
export function isFull({ code }: TidegateError): boolean {
  return code === "overloaded" || code === "disk-full";
}

/** Nothing took effect, and another broker group may take it. */
function isRefusal({ code }: TidegateError): boolean {
  return code === "unavailable" || code === "draining";
}
