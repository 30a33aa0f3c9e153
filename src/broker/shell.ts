/**
 * What the three APIs share of a running broker: the core, its log, the time,
 * and the answers and waits that hang on them. It moves things and decides
 * nothing.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { Core } from "./core.ts";
import type { BrokerFold } from "./fold.ts";
import { markReady, popQueue, type Subscription } from "./groups.ts";
import { ReceiveWaiters } from "./receive_waiters.ts";
import { Replies } from "./replies.ts";
import { KeyedWaiters, WaitRoom } from "./waiters.ts";

/** Appended and not yet on disk, at most: more is refused, not queued. */
const UNFLUSHED_BYTES_MAX = 64 * 1024 * 1024;

export interface ShellPorts {
  readonly clock: Clock;
  /** Returns `size` random bytes, fit for secrets. */
  entropy(size: number): Uint8Array;
}

export class Shell {
  readonly core: Core;
  readonly store: MessageStore;
  readonly replies: Replies;
  readonly room: WaitRoom;
  /** By topic generation. */
  readonly readers: KeyedWaiters<number>;
  readonly receivers: ReceiveWaiters;
  readonly #ports: ShellPorts;
  #latest = 0;

  constructor(
    ports: ShellPorts,
    parts: {
      readonly store: MessageStore;
      readonly fold: BrokerFold;
      readonly autoCreate: boolean;
      readonly waitersMax: number;
    },
  ) {
    const { store, fold, autoCreate } = parts;
    this.#ports = ports;
    this.store = store;
    this.core = {
      fold,
      sink: store,
      autoCreate,
      visibleEnd: ({ topicGen, queueId }) => store.queues.find(topicGen, queueId)?.end ?? 0,
    };
    this.replies = new Replies(store.log);
    this.room = new WaitRoom(parts.waitersMax);
    this.readers = new KeyedWaiters(ports.clock, this.room);
    this.receivers = new ReceiveWaiters(this.core, {
      clock: ports.clock,
      room: this.room,
      now: () => this.now(),
      flush: () => store.log.flush(),
    });
  }

  /** Leader time: the wall clock, never falling. */
  now(): number {
    this.#latest = Math.max(this.#latest, this.#ports.clock.now());
    return this.#latest;
  }

  nonce(): Uint8Array {
    return this.#ports.entropy(8);
  }

  /** Runs a decision now; the answer is given once what it rests on is confirmed. */
  decide<T>(decision: (now: number) => T): Promise<T> {
    const answer = this.replies.decide(() => decision(this.now()));
    this.store.log.flush();
    return answer;
  }

  /** An error, given once what it rests on is confirmed. */
  async refuse(error: unknown): Promise<never> {
    this.store.log.flush();
    await this.replies.confirmed(undefined);
    throw error;
  }

  /** The queue may have something for the subscription. */
  markReady(subscription: Subscription, queueId: number): void {
    const queue = popQueue(subscription, queueId);
    const more = queue.due.size > 0 || queue.head < this.core.visibleEnd(queue);
    if (more && subscription.topicGen !== undefined) markReady(queue);
  }

  /** @throws `overloaded` when the disk is too far behind. */
  admit(): void {
    const { end, confirmOffset } = this.store.log;
    if (end - confirmOffset < UNFLUSHED_BYTES_MAX) return;
    const detail = `Cannot publish: ${UNFLUSHED_BYTES_MAX} bytes wait for the disk`;
    throw new TidegateError("overloaded", detail, { limit: UNFLUSHED_BYTES_MAX });
  }
}
