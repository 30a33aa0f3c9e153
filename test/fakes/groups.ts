/**
 * The consumer groups of the fake broker: {@linkcode GroupsApi} over its
 * members (`group_member.ts`), which count on one entry per message
 * (`group_progress.ts`).
 *
 * @module
 */

import type {
  CallOptions,
  ConnectedConsumer,
  DeadLetterChoice,
  Delivery,
  Group,
  GroupConfig,
  GroupPatch,
  GroupsApi,
  NewMessage,
  Page,
  Peeked,
  ReceiveRequest,
  SettleRequest,
  SettleResult,
  Start,
} from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { copyOf, forget, lettersOf, pageOf, revive } from "./group_dead_letters.ts";
import { Member } from "./group_member.ts";
import { settleEach } from "./group_settle.ts";
import type { FakeTopics } from "./topics.ts";
import type { Wakeups } from "./wakeups.ts";

export interface GroupsWorld {
  readonly topics: FakeTopics;
  readonly wakeups: Wakeups;
  now(): number;
  /** All or none. */
  publishAll(topic: string, messages: readonly NewMessage[]): Promise<unknown>;
  /** By queue that is meant: the queueOffset of the first message behind `start`. */
  positions(topic: string, start: Start): readonly (readonly [queueId: number, at: number])[];
}

export class FakeGroups implements GroupsApi {
  readonly #members = new Map<string, Member>();
  readonly #world: GroupsWorld & { serial(): number };

  constructor(world: GroupsWorld) {
    let serial = 0;
    this.#world = { ...world, serial: () => ++serial };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async put(name: string, config: GroupConfig): Promise<{ created: boolean; group: Group }> {
    const known = this.#members.get(name)?.group;
    if (known !== undefined) {
      if (essence(known) === essence(config)) return { created: false, group: known };
      throw new TidegateError("group-exists", `Cannot create "${name}": it exists and differs`);
    }
    const [generation, createdAt] = [this.#world.serial(), this.#world.now()];
    const group = { ...config, name, generation, createdAt, paused: false };
    this.#members.set(name, new Member(group, this.#world));
    return { created: true, group };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async get(name: string): Promise<Group> {
    return this.#member(name).group;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async patch(name: string, change: GroupPatch): Promise<Group> {
    const member = this.#looked(name);
    const given = Object.entries(change).filter(([, value]) => value !== undefined);
    const group = { ...member.group, ...(Object.fromEntries(given) as Partial<GroupConfig>) };
    const open = member.all().some((progress) => progress.open().length > 0);
    if (group.mode !== member.group.mode && open) {
      throw new TidegateError("group-busy", `Cannot change "${name}": it has open leases`);
    }
    member.define(group);
    this.#world.wakeups.wake();
    return group;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async delete(name: string): Promise<void> {
    this.#member(name);
    this.#members.delete(name);
    this.#world.wakeups.wake();
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async list(page: Page): Promise<{ groups: readonly Group[]; next?: string | undefined }> {
    const names = [...this.#members.keys()].filter((name) => name > (page.after ?? ""));
    const groups = names
      .toSorted()
      .slice(0, page.limit)
      .map((name) => this.#member(name).group);
    return { groups, next: names.length > page.limit ? groups.at(-1)?.name : undefined };
  }

  pause(name: string): Promise<Group> {
    return this.#setPaused(name, true);
  }

  resume(name: string): Promise<Group> {
    return this.#setPaused(name, false);
  }

  async receive(
    request: ReceiveRequest,
    { signal }: CallOptions = {},
  ): Promise<readonly Delivery[]> {
    const look = () => (signal?.aborted ? [] : this.#looked(request.group).grant(request));
    const first = look();
    const { waitMs } = request;
    if (first.length > 0 || waitMs === 0) return first;
    const { waiting } = this.#member(request.group);
    waiting.add(request);
    const done = (deliveries: readonly Delivery[]) => deliveries.length > 0;
    try {
      return await this.#world.wakeups.until(look, { done, waitMs, signal });
    } finally {
      waiting.delete(request);
    }
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async settle(name: string, request: SettleRequest): Promise<readonly SettleResult[]> {
    const results = settleEach(this.#member(name), { request, now: this.#world.now() });
    this.#world.wakeups.wake();
    return results;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async lag(name: string) {
    const member = this.#looked(name);
    const now = this.#world.now();
    const topics = member.topics.map((topic) => {
      const progress = member.progressOf(topic);
      const queues = progress?.lag(now) ?? [];
      return { topic, queues, total: progress?.unsettled().length ?? 0 };
    });
    return { topics };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async peek(
    name: string,
    wish: { limit: number; maxBytes: number; topic?: string | undefined },
  ): Promise<readonly Peeked[]> {
    const { limit: max, maxBytes, topic } = wish;
    const ready = this.#looked(name).ready({ max, maxBytes, topic, pass() {} });
    return ready.map(({ progress, index }) => {
      const attempt = (progress.entries.get(index)?.attempt ?? 0) + 1;
      return { ...progress.stored(index), attempt };
    });
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async consumers(name: string): Promise<readonly ConnectedConsumer[]> {
    const member = this.#looked(name);
    const live = member.all().flatMap((progress) => progress.live(this.#world.now()));
    const waiting = Map.groupBy(member.waiting, ({ consumerId }) => consumerId);
    const inFlight = Map.groupBy(live, ({ consumerId }) => consumerId);
    const ids = new Set([...waiting.keys(), ...inFlight.keys()]);
    const nameless = ids.delete(undefined) ? [undefined] : [];
    return [...[...ids].toSorted(byText), ...nameless].map((consumerId) => ({
      ...(consumerId === undefined ? {} : { consumerId }),
      waiting: waiting.get(consumerId)?.length ?? 0,
      inFlight: inFlight.get(consumerId)?.length ?? 0,
    }));
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async seek(name: string, { topic, to }: { topic: string; to: Start }) {
    const member = this.#member(name);
    member.subscribed(topic);
    const positions = this.#world.positions(topic, to);
    for (const [queueId, position] of positions) {
      member.progressOf(topic)?.move(queueId, position);
    }
    this.#world.wakeups.wake();
    return positions.map(([queueId, position]) => ({ queueId, position }));
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async deadLetters(
    name: string,
    page: { limit: number; maxBytes: number; after?: string | undefined },
  ) {
    return pageOf(lettersOf(this.#looked(name).all()), page);
  }

  async redrive(
    name: string,
    { ids, toTopic }: DeadLetterChoice & { toTopic?: string | undefined },
  ): Promise<number> {
    const letters = lettersOf(this.#looked(name).all(), { ids });
    if (toTopic === undefined) {
      for (const letter of letters) revive(letter, this.#world.now());
      this.#world.wakeups.wake();
    } else {
      await this.#world.publishAll(toTopic, letters.map(copyOf));
      for (const letter of letters) forget(letter);
    }
    return letters.length;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async purgeDeadLetters(name: string, choice: DeadLetterChoice): Promise<number> {
    const letters = lettersOf(this.#looked(name).all(), choice);
    for (const letter of letters) forget(letter);
    return letters.length;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async #setPaused(name: string, paused: boolean): Promise<Group> {
    const member = this.#member(name);
    member.group = { ...member.group, paused };
    this.#world.wakeups.wake();
    return member.group;
  }

  #member(name: string): Member {
    const member = this.#members.get(name);
    if (member !== undefined) return member;
    throw new TidegateError("group-not-found", `Cannot find the consumer group "${name}"`);
  }

  /** As it is now: what had its last attempt is dead. */
  #looked(name: string): Member {
    const member = this.#member(name);
    member.look();
    return member;
  }
}

function byText(a = "", b = ""): number {
  return a < b ? -1 : 1;
}

/** What PUT compares. */
function essence(config: GroupConfig): string {
  const { mode, leaseMs, maxAttempts, backoff, startFrom, maxInFlight } = config;
  const subscriptions = config.subscriptions.toSorted((a, b) => (a.topic < b.topic ? -1 : 1));
  const rest = [mode, leaseMs, maxAttempts, backoff, startFrom, maxInFlight];
  return JSON.stringify([subscriptions, ...rest]);
}
