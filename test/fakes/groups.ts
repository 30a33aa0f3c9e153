/**
 * The consumer groups of the fake broker: who holds which message.
 *
 * One entry per delivered message, by its place in the topic's log; a receipt
 * names the entry and its attempt, so one of an earlier attempt is lost.
 *
 * @module
 */

import type {
  Delivery,
  Group,
  GroupConfig,
  GroupPatch,
  GroupsApi,
  Page,
  QueueLag,
  ReceiveRequest,
  SettleRequest,
  SettleResult,
  StoredMessage,
} from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { FakeTopics } from "./topics.ts";
import type { Wakeups } from "./wakeups.ts";

interface Lease {
  readonly topic: string;
  readonly index: number;
  attempt: number;
  /** Held until then; ready again from then on. */
  until: number;
  state: "leased" | "released" | "done";
  attemptId: string | undefined;
}

interface Membership {
  group: Group;
  /** By topic: the next log index nobody was given. */
  readonly next: Map<string, number>;
  readonly leases: Map<string, Lease>;
}

export class FakeGroups implements GroupsApi {
  readonly #groups = new Map<string, Membership>();
  readonly #topics: FakeTopics;
  readonly #now: () => number;
  readonly #wakeups: Wakeups;
  #generation = 0;

  constructor(topics: FakeTopics, world: { now: () => number; wakeups: Wakeups }) {
    this.#topics = topics;
    this.#now = world.now;
    this.#wakeups = world.wakeups;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async put(name: string, config: GroupConfig): Promise<{ created: boolean; group: Group }> {
    const known = this.#groups.get(name);
    if (known !== undefined) {
      if (same(known.group, config)) return { created: false, group: known.group };
      throw new TidegateError("group-exists", `Cannot create "${name}": it exists and differs`);
    }
    const group = { ...config, name, generation: ++this.#generation, createdAt: this.#now() };
    const member: Membership = { group, next: new Map(), leases: new Map() };
    this.#groups.set(name, member);
    this.#subscribe(member);
    return { created: true, group };
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async get(name: string): Promise<Group> {
    return this.#member(name).group;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async patch(name: string, change: GroupPatch): Promise<Group> {
    const member = this.#member(name);
    const given = Object.entries(change).filter(([, value]) => value !== undefined);
    member.group = { ...member.group, ...(Object.fromEntries(given) as Partial<GroupConfig>) };
    this.#subscribe(member);
    return member.group;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async delete(name: string): Promise<void> {
    this.#member(name);
    this.#groups.delete(name);
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async list(page: Page): Promise<{ groups: readonly Group[]; next?: string | undefined }> {
    const names = [...this.#groups.keys()].filter((name) => name > (page.after ?? "")).toSorted();
    const groups = names.slice(0, page.limit).map((name) => this.#member(name).group);
    return { groups, next: names.length > page.limit ? groups.at(-1)?.name : undefined };
  }

  async receive(
    request: ReceiveRequest,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<readonly Delivery[]> {
    const member = this.#member(request.group);
    const subscribed = member.group.subscriptions.map(({ topic }) => topic);
    if (request.topic !== undefined && !subscribed.includes(request.topic)) {
      throw new TidegateError("topic-not-found", `"${request.topic}" is not subscribed to`);
    }
    const topics = request.topic === undefined ? subscribed : [request.topic];
    return await this.#wakeups.until(
      () => (options.signal?.aborted ? [] : this.#grant(member, { request, topics })),
      {
        done: (deliveries) => deliveries.length > 0,
        waitMs: request.waitMs,
        signal: options.signal,
      },
    );
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async settle(group: string, request: SettleRequest): Promise<readonly SettleResult[]> {
    const member = this.#member(group);
    const now = this.#now();
    const settle = (receipt: string, change: (lease: Lease) => void): SettleResult => {
      const [entry = "", attempt] = receipt.split("~");
      const lease = member.leases.get(entry);
      if (lease === undefined) return { receipt, status: "invalid" };
      if (lease.attempt !== Number(attempt)) return { receipt, status: "lost" };
      const status = lease.state === "leased" && lease.until <= now ? "late" : "ok";
      change(lease);
      return { receipt, status, ...(lease.state === "leased" ? { leaseUntil: lease.until } : {}) };
    };
    const done = (lease: Lease) => {
      lease.state = "done";
    };
    const results = [
      ...request.ack.map((receipt) => settle(receipt, done)),
      ...request.release.map(({ receipt, delayMs }) =>
        settle(receipt, (lease) => {
          lease.state = "released";
          lease.until = now + (delayMs ?? 1000);
        }),
      ),
      ...request.extend.map(({ receipt, leaseMs }) =>
        settle(receipt, (lease) => {
          lease.until = now + leaseMs;
        }),
      ),
      ...request.reject.map(({ receipt }) => settle(receipt, done)),
    ];
    this.#wakeups.wake();
    return results;
  }

  // oxlint-disable-next-line require-await -- a throw must reject
  async lag(name: string) {
    const member = this.#member(name);
    const topics = member.group.subscriptions.map(({ topic }) => {
      const { log, ends } = this.#topics.life(topic);
      const next = member.next.get(topic) ?? 0;
      const open = [...member.leases.values()].filter(
        (lease) => lease.topic === topic && lease.state !== "done",
      );
      const queues = ends.map((endOffset, queueId): QueueLag => {
        const mine = (one: StoredMessage | undefined) => one?.queueId === queueId;
        const leased = open.filter(({ index }) => mine(log[index])).length;
        const ready = log.slice(next).filter(mine).length;
        const committedOffset = endOffset - ready - leased;
        return { queueId, committedOffset, endOffset, ready, leased, oldestAgeMs: 0 };
      });
      return { topic, queues, total: queues.reduce((sum, one) => sum + one.ready + one.leased, 0) };
    });
    return { topics };
  }

  #member(name: string): Membership {
    const member = this.#groups.get(name);
    if (member !== undefined) return member;
    throw new TidegateError("group-not-found", `Cannot find the consumer group "${name}"`);
  }

  #subscribe(member: Membership): void {
    for (const { topic } of member.group.subscriptions) {
      const { log } = this.#topics.forPublish(topic);
      if (member.next.has(topic)) continue;
      member.next.set(topic, member.group.startFrom === "latest" ? log.length : 0);
    }
  }

  #grant(
    member: Membership,
    wanted: { request: ReceiveRequest; topics: readonly string[] },
  ): Delivery[] {
    const { request, topics } = wanted;
    const now = this.#now();
    const leases = [...member.leases.values()].filter(({ topic }) => topics.includes(topic));
    const again = leases.filter(
      (lease) =>
        request.attemptId !== undefined &&
        lease.attemptId === request.attemptId &&
        lease.state === "leased" &&
        lease.until > now,
    );
    if (again.length > 0) return again.map((lease) => this.#delivery(lease));

    const due = leases
      .filter(({ state, until }) => state !== "done" && until <= now)
      .slice(0, request.max);
    for (const lease of due) lease.attempt++;
    const fresh = topics.flatMap((topic) => this.#fresh(member, topic, request.max - due.length));
    const until = now + (request.leaseMs ?? member.group.leaseMs);
    const { attemptId } = request;
    return [...due, ...fresh].map((lease) => {
      Object.assign(lease, { until, attemptId, state: "leased" });
      return this.#delivery(lease);
    });
  }

  #fresh(member: Membership, topic: string, max: number): Lease[] {
    const { log } = this.#topics.life(topic);
    const from = member.next.get(topic) ?? 0;
    const to = Math.min(log.length, from + Math.max(0, max));
    member.next.set(topic, to);
    return Array.from({ length: to - from }, (_, i) => {
      const lease: Lease = {
        topic,
        index: from + i,
        attempt: 1,
        until: 0,
        state: "leased",
        attemptId: undefined,
      };
      member.leases.set(`${topic}:${from + i}`, lease);
      return lease;
    });
  }

  #delivery({ topic, index, attempt, until }: Lease): Delivery {
    const stored = this.#topics.life(topic).log[index] as StoredMessage;
    return { ...stored, receipt: `${topic}:${index}~${attempt}`, attempt, leaseUntil: until };
  }
}

function same(a: GroupConfig, b: GroupConfig): boolean {
  const essence = ({
    subscriptions,
    leaseMs,
    maxAttempts,
    backoff,
    startFrom,
    maxInFlight,
  }: GroupConfig) =>
    JSON.stringify([subscriptions, leaseMs, maxAttempts, backoff, startFrom, maxInFlight]);
  return essence(a) === essence(b);
}
