/**
 * Receiving from a consumer group over several broker groups.
 *
 *   what an attempt, or a consumer that is back, holds already ─▶ that
 *   else each broker group in turn, until there is enough
 *   nothing anywhere: all are waited at (keep_waiting.ts); the first that has something ends it
 *
 * Broker groups are asked one after another, beginning with another one each time, so no
 * more is leased than was asked for. Only where two answer a wait at the same moment may
 * there be too much: the surplus is given back, and its attempt does not count.
 *
 * Bounds hold like this: `max` and a consumer's `consumerMaxInFlight` over all broker
 * groups, the latter by what they told just before, a group's `maxInFlight` in each.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import type { BrokerGroupApi, CallOptions, Delivery, ReceiveRequest } from "../broker/api.ts";
import { type Cluster, leftAlready } from "./cluster.ts";
import { askEach, concernedBy } from "./consumer_group.ts";
import { keepWaiting } from "./keep_waiting.ts";
import { isAway } from "./members.ts";
import { mostOf } from "./most_of.ts";
import { homeOfReceipt } from "./settle.ts";

/** Consumer groups whose turn is remembered. */
const TURNS_MAX = 100_000;
/** Others wait no longer for a broker group that does not answer. */
const GRACE_MS = 500;
/** A settle at one broker group makes room at the others within so long. */
const ROOM_MS = 1000;

interface Call {
  readonly request: ReceiveRequest;
  readonly options: CallOptions | undefined;
}

export class Receiver {
  readonly #cluster: Cluster;
  /** By consumer group: the number of its receives. */
  readonly #turns = new Map<string, number>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async receive(call: Call): Promise<readonly Delivery[]> {
    const groups = await this.#groupsFor(call.request);
    const { request, options } = call;
    const waits = request.waitMs > 0 && !this.#cluster.isDraining;
    if (!waits)
      return await this.#from(groups, { ...request, waitMs: 0 }, leftAlready(options?.signal));
    return await this.#cluster.waiting(options?.signal, (signal) =>
      this.#from(groups, request, signal),
    );
  }

  async #from(
    groups: readonly number[],
    request: ReceiveRequest,
    signal: AbortSignal | undefined,
  ): Promise<readonly Delivery[]> {
    const [only = 0, ...others] = groups;
    if (others.length === 0) return await this.#fromOne({ request, signal, group: only });
    const turned = this.#turned(groups, request);
    return await new Receive(this.#cluster, { request, signal, groups: turned }).run();
  }

  async #groupsFor({ group: name, topic }: ReceiveRequest): Promise<readonly number[]> {
    const group = await this.#cluster.group(name);
    const { groups, isWhole } = await concernedBy(this.#cluster, { group, only: topic });
    return isWhole ? groups : this.#cluster.members.known();
  }

  #fromOne(wish: {
    readonly request: ReceiveRequest;
    readonly signal: AbortSignal | undefined;
    readonly group: number;
  }): Promise<readonly Delivery[]> {
    const { request, signal, group } = wish;
    const { members } = this.#cluster;
    return members.call({
      group,
      signal,
      repeatable: request.attemptId !== undefined,
      deadline: members.deadline() + request.waitMs,
      ask: ({ groups }) => groups.receive(request, { signal }),
    });
  }

  /** Another one first each time; an attempt always asks in the same order. */
  #turned(groups: readonly number[], request: ReceiveRequest): readonly number[] {
    const { group, attemptId } = request;
    const turn = attemptId === undefined ? this.#turn(group) : stableHash(attemptId);
    const from = turn % groups.length;
    return [...groups.slice(from), ...groups.slice(0, from)];
  }

  #turn(group: string): number {
    const turn = (this.#turns.get(group) ?? -1) + 1;
    if (this.#turns.size >= TURNS_MAX && !this.#turns.has(group)) {
      this.#turns.delete(this.#turns.keys().next().value as string); // any start is as good
    }
    this.#turns.set(group, turn);
    return turn;
  }
}

class Receive {
  readonly #cluster: Cluster;
  readonly #request: ReceiveRequest;
  readonly #signal: AbortSignal | undefined;
  readonly #groups: readonly number[];
  readonly #until: number;
  readonly #got: Delivery[] = [];
  #bytes = 0;
  /** Why broker groups could not be asked. */
  #away = new Map<number, TidegateError>();
  /** What the consumer holds, by broker group; where it has a bound. */
  #held: ReadonlyMap<number, number> | undefined;

  constructor(
    cluster: Cluster,
    about: {
      readonly request: ReceiveRequest;
      readonly signal: AbortSignal | undefined;
      readonly groups: readonly number[];
    },
  ) {
    this.#cluster = cluster;
    this.#request = about.request;
    this.#signal = about.signal;
    this.#groups = about.groups;
    this.#until = cluster.clock.elapsed() + about.request.waitMs;
  }

  async run(): Promise<readonly Delivery[]> {
    if (await this.#repeat()) return this.#got;
    await this.#look();
    while (this.#got.length === 0 && this.#left > 0 && !this.#signal?.aborted) {
      await this.#wait();
      if (this.#got.length === 0 && this.#isCapped && this.#left > 0) await this.#look();
    }
    if (this.#signal?.aborted) return this.#undo();
    const [error] = this.#away.values();
    if (this.#got.length === 0 && error && this.#away.size === this.#groups.length) throw error;
    return this.#got;
  }

  get #left(): number {
    return this.#until - this.#cluster.clock.elapsed();
  }

  get #isCapped(): boolean {
    const { consumerId, consumerMaxInFlight } = this.#request;
    return consumerId !== undefined && consumerMaxInFlight !== undefined;
  }

  /** What the attempt was given before. */
  async #repeat(): Promise<boolean> {
    const { group, attemptId, maxBytes } = this.#request;
    if (attemptId === undefined) return false;
    const ask = ({ share }: BrokerGroupApi) => share.repeat(group, { attemptId, maxBytes });
    const again = await askEach(this.#cluster, this.#groups, ask, { repeatable: true });
    this.#got.push(...again.flat());
    return this.#got.length > 0;
  }

  /** Asks each in turn for what it has now. */
  async #look(): Promise<void> {
    await this.#count();
    for (const group of this.#groups) {
      const isFull = this.#got.length >= this.#request.max || this.#bytes >= this.#request.maxBytes;
      if ((isFull && !this.#request.reopen) || this.#signal?.aborted) return;
      const given = await this.#ask(group, { waitMs: 0, signal: this.#signal });
      this.#take(given);
    }
  }

  /** How much of its credit a consumer has used, and where. */
  async #count(): Promise<void> {
    if (!this.#isCapped) return;
    const { group: name, consumerId } = this.#request;
    const counts = await askEach(
      this.#cluster,
      this.#groups,
      async ({ groups }, group) => {
        const mine = (await groups.consumers(name)).find((one) => one.consumerId === consumerId);
        return [group, mine?.inFlight ?? 0] as const;
      },
      { repeatable: true },
    );
    this.#held = new Map(counts);
  }

  /**
   * All are waited at, until one has something. A broker group whose answer was lost is asked
   * again, for other messages: what it had leased comes back when those leases end.
   */
  async #wait(): Promise<void> {
    const { clock, members } = this.#cluster;
    const found = new AbortController();
    const signal = this.#signal ? AbortSignal.any([this.#signal, found.signal]) : found.signal;
    const waitMs = this.#isCapped ? Math.min(this.#left, ROOM_MS) : this.#left;
    const until = clock.elapsed() + waitMs;
    const isSome = (given: readonly Delivery[]) => given.length > 0;
    const asked = this.#groups.map(async (group) => {
      const ask = (ms: number) => this.#ask(group, { waitMs: ms, signal });
      const given = await keepWaiting(members, { group, until, signal, ask, counts: isSome });
      if (isSome(given)) found.abort();
      return given;
    });
    const counts = (given: readonly Delivery[]) => isSome(given) || clock.elapsed() >= until;
    try {
      const late = await mostOf(asked, { clock, graceMs: GRACE_MS, counts });
      for (const [i, one] of asked.entries()) {
        if (late.includes(i)) void one.then((given) => this.#giveBack(given));
        else this.#take(await one);
      }
    } finally {
      found.abort();
    }
  }

  /** Nothing of a broker group that cannot be asked, which the others make up for. */
  async #ask(
    group: number,
    { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<readonly Delivery[]> {
    const { members, clock } = this.#cluster;
    const request = { ...this.#request, waitMs, ...this.#bounds(group) };
    const repeatable = request.attemptId !== undefined;
    const ask = ({ groups }: BrokerGroupApi) => groups.receive(request, { signal });
    const deadline = clock.elapsed() + waitMs;
    try {
      const given = await members.call({ group, ask, repeatable, signal, deadline });
      this.#away.delete(group);
      return given;
    } catch (error) {
      if (!(error instanceof TidegateError) || !isAway(error)) throw error;
      this.#away.set(group, error);
      return [];
    }
  }

  #bounds(group: number): Partial<ReceiveRequest> {
    const max = Math.max(1, this.#request.max - this.#got.length);
    const maxBytes = Math.max(1, this.#request.maxBytes - this.#bytes);
    if (!this.#held) return { max, maxBytes };
    const { consumerMaxInFlight = 0 } = this.#request;
    const used = [...this.#held.values()].reduce((sum, count) => sum + count, 0);
    const room = Math.max(0, consumerMaxInFlight - used - this.#got.length);
    return { max, maxBytes, consumerMaxInFlight: room + (this.#held.get(group) ?? 0) };
  }

  /** What is more than was asked for goes back. */
  #take(given: readonly Delivery[]): void {
    const { max, maxBytes, reopen } = this.#request;
    const surplus: Delivery[] = [];
    for (const delivery of given) {
      const bytes = this.#bytes + delivery.payload.length;
      const fits = this.#got.length === 0 || (this.#got.length < max && bytes <= maxBytes);
      if (!fits && !reopen) surplus.push(delivery);
      else {
        this.#got.push(delivery);
        this.#bytes = bytes;
      }
    }
    void this.#giveBack(surplus);
  }

  /** The caller is gone; what an attempt has is kept for its next try. */
  #undo(): readonly Delivery[] {
    if (this.#request.attemptId === undefined) void this.#giveBack(this.#got);
    return [];
  }

  async #giveBack(deliveries: readonly Delivery[]): Promise<void> {
    const { group: name } = this.#request;
    const byGroup = Map.groupBy(deliveries, ({ receipt }) => homeOfReceipt(receipt));
    for (const [group, mine] of byGroup) {
      if (group === undefined) continue;
      const receipts = mine.map(({ receipt }) => receipt);
      const ask = ({ share }: BrokerGroupApi) => share.giveBack(name, receipts);
      try {
        await this.#cluster.members.call({ group, ask, repeatable: true });
      } catch {
        // They end by themselves when their time is up.
      }
    }
  }
}
