/**
 * One consumer's stream of leased messages: a loop of receives whose answers are
 * written to a reader.
 *
 *   what it holds ─▶ room? ─▶ receive ─▶ encode ─▶ queue to the reader ─▶ room? …
 *
 * The credit is the broker's: it leases no more than `maxInFlight` to the consumer,
 * whoever settles. So nothing is asked for here while the reader has half its
 * backlog full, and nothing else is kept.
 *
 * Promises: what was leased and never queued to the reader goes back. As long as a
 * receive is under way the broker sees to it, when the signal aborts; after that it
 * is released here. What was queued stays leased until it is settled or its time is
 * over, since nobody knows how far it came. What a consumer held before this stream
 * is never given back by it: the consumer may be working on it.
 *
 * @module
 */

import type { LeaseStreamRequest } from "../../routes/ports.ts";
import type { Delivery, GroupsApi, ReceiveRequest, SettleRequest } from "../broker/api.ts";
import type { After } from "./feed.ts";
import type { Followed } from "./feed_reader.ts";
import { BACKLOG_BYTES, type Subscriber } from "./feed_subscriber.ts";
import { encodeLeases } from "./lease_events.ts";
import { encodeConsumer, HEARTBEAT, type ReconnectReason } from "./sse.ts";

/** The broker's longest wait is 60 s. */
const WAIT_MS = 30_000;

/** Between waits in vain: a broker that ends them at once must not be asked in a circle. */
const EMPTY_MS = 10;

/** What one receive brings fits the half of the backlog that is free, but for large messages. */
const RECEIVE_MESSAGES = 100;
const RECEIVE_BYTES = 64 * 1024;

/** All a consumer holds, or nearly: what is left out comes again when its lease is over. */
const HELD_MESSAGES = 1000;
const HELD_BYTES = 16 * 1024 * 1024;

export interface LeaseStreamOptions {
  readonly groups: Pick<GroupsApi, "receive" | "settle">;
  readonly after: After;
  readonly subscriber: Subscriber;
  readonly wanted: LeaseStreamRequest;
}

export class LeaseStream implements Followed {
  /** Its events carry no position: a lease is found again by its consumer. */
  readonly cursor = "";
  readonly upToDate = true;
  readonly #options: LeaseStreamOptions;
  readonly #stop = new AbortController();

  constructor(options: LeaseStreamOptions) {
    this.#options = options;
    options.subscriber.follow(this);
  }

  /**
   * Begins with who the consumer is.
   *
   * @returns what the consumer holds already, for {@linkcode run}.
   * @throws what the group's receive throws: nothing was written then.
   */
  async begin(retryMs: number): Promise<readonly Delivery[]> {
    const { subscriber, wanted } = this.#options;
    const limits = { max: HELD_MESSAGES, maxBytes: HELD_BYTES, waitMs: 0 };
    // Without credit for more, it gets what it holds and nothing else.
    const held = await this.#receive({ ...limits, reopen: true, consumerMaxInFlight: 0 });
    subscriber.send([encodeConsumer(retryMs, wanted.consumerId)], this.cursor);
    return held;
  }

  /** Runs until the stream ends. @throws what the group's receive throws */
  async run(held: readonly Delivery[]): Promise<void> {
    const { maxInFlight } = this.#options.wanted;
    const max = Math.min(maxInFlight, RECEIVE_MESSAGES);
    const limits = { max, maxBytes: RECEIVE_BYTES, waitMs: WAIT_MS };
    await this.#write(held);
    while (await this.#calm()) {
      const leased = await this.#receive({ ...limits, consumerMaxInFlight: maxInFlight });
      const inVain = leased.length === 0 && this.#options.subscriber.open;
      if (inVain) await this.#sleep(EMPTY_MS);
      const left = await this.#write(leased);
      const release = left.map(({ receipt }) => ({ receipt, delayMs: 0 }));
      if (release.length > 0) await this.#settle({ release });
    }
  }

  end(reason?: ReconnectReason): void {
    this.#options.subscriber.end(reason);
  }

  // What the subscriber asks.

  control() {
    return HEARTBEAT; // not asked for: there is no position that could have moved
  }

  leave(): void {
    this.#stop.abort();
  }

  #receive(limits: Omit<ReceiveRequest, "group">): Promise<readonly Delivery[]> {
    const { group, topic, leaseMs, consumerId } = this.#options.wanted;
    const request = { group, topic, leaseMs, consumerId, ...limits };
    return this.#options.groups.receive(request, { signal: this.#stop.signal });
  }

  /** Returns what could not be queued any more. */
  async #write(deliveries: readonly Delivery[]): Promise<readonly Delivery[]> {
    const { subscriber } = this.#options;
    for (let from = 0; from < deliveries.length; ) {
      const { bytes, next, unreadable } = encodeLeases(deliveries, from);
      if (!(await subscriber.room(bytes.length))) return deliveries.slice(from);
      const queued = bytes.length === 0 || subscriber.send([bytes], this.cursor);
      if (!queued) return deliveries.slice(from);
      const reason = "its stored bytes are damaged";
      const reject = unreadable.map(({ receipt }) => ({ receipt, reason }));
      if (reject.length > 0) await this.#settle({ reject });
      from = next;
    }
    return [];
  }

  async #settle(some: Partial<SettleRequest>): Promise<void> {
    const nothing = { ack: [], release: [], extend: [], reject: [] };
    await this.#options.groups.settle(this.#options.wanted.group, { ...nothing, ...some });
  }

  /** Resolves when half the backlog is free; to false when the stream ended. */
  #calm(): Promise<boolean> {
    return this.#options.subscriber.room(BACKLOG_BYTES / 2);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => void this.#options.after(delayMs, resolve));
  }
}
