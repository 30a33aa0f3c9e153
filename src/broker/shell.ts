/**
 * What the three APIs share of a running broker: the core, its log, the time,
 * and the answers and waits that hang on them. It moves things and decides
 * nothing.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Digest } from "../../storage/base/digest.ts";
import type { Log } from "../../storage/base/logger.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { MessageStore } from "../../storage/mod.ts";
import type { NewMessage } from "./api.ts";
import { Checks } from "./checks.ts";
import type { Core } from "./core.ts";
import { checkUrlOf } from "./definitions.ts";
import type { BrokerFold } from "./fold.ts";
import { popQueue, type Subscription } from "./groups.ts";
import { refresh } from "./readiness.ts";
import { ReceiveWaiters } from "./receive_waiters.ts";
import { DiskWatch } from "./disk_watch.ts";
import { Delays } from "./delay.ts";
import { Expiry } from "./expiry.ts";
import { Forwarding } from "./forwarding.ts";
import { LeaderTime } from "./leader_time.ts";
import type { ChecksPort } from "./ports.ts";
import { diskFull, Replies } from "./replies.ts";
import { Scout } from "./scout.ts";
import { ScheduledIds } from "./scheduled_ids.ts";
import { TimerCore } from "./timer_core.ts";
import { Traffic } from "./traffic.ts";
import { KeyedWaiters, WaitRoom } from "./waiters.ts";

/** Appended and not yet on disk, at most: more is refused, not queued. */
const UNFLUSHED_BYTES_MAX = 64 * 1024 * 1024;

const HALVES_MAX = 200_000;

export interface ShellPorts {
  readonly clock: Clock;
  /** Returns `size` random bytes, fit for secrets. */
  entropy(size: number): Uint8Array;
  /** A job beside the requests failed. */
  report(error: Error): void;
  readonly log: Log;
  readonly digest: Digest;
  /** Absent: this node makes no calls, and takes no checkUrl. */
  readonly checks?: ChecksPort | undefined;
}

export class Shell {
  readonly core: Core;
  readonly store: MessageStore;
  readonly replies: Replies;
  readonly room: WaitRoom;
  /** By topic generation. */
  readonly readers: KeyedWaiters<number>;
  readonly receivers: ReceiveWaiters;
  readonly scout: Scout;
  readonly timers: TimerCore;
  readonly scheduledIds: ScheduledIds;
  readonly checks: Checks;
  readonly expiry: Expiry;
  readonly forwarding: Forwarding;
  readonly diskWatch: DiskWatch;
  readonly traffic = new Traffic();
  readonly #ports: ShellPorts;
  readonly #time: LeaderTime;

  constructor(
    ports: ShellPorts,
    parts: {
      readonly store: MessageStore;
      readonly fold: BrokerFold;
      readonly brokerGroup?: number | undefined;
      readonly autoCreate: boolean;
      readonly delayMaxMs: number;
      readonly retentionMaxMs: number;
      readonly waitersMax: number;
      readonly halvesMax?: number | undefined;
    },
  ) {
    const { store, fold, autoCreate, delayMaxMs, halvesMax = HALVES_MAX } = parts;
    const seen = Math.max(store.log.tail.storedAt, store.timers.passed.dueAt);
    this.#time = new LeaderTime(ports.clock, seen);
    this.#ports = ports;
    this.store = store;
    this.core = {
      brokerGroup: parts.brokerGroup ?? 0,
      fold,
      sink: store,
      timers: store.timers,
      autoCreate,
      delayMaxMs,
      halvesMax,
      visibleEnd: ({ topicGen, queueId }) => store.queues.find(topicGen, queueId)?.end ?? 0,
    };
    this.replies = new Replies({
      get end() {
        return store.log.end;
      },
      get writtenEnd() {
        return store.log.writtenEnd;
      },
      get replicatedEnd() {
        return store.replicatedEnd;
      },
      get confirmOffset() {
        return store.log.confirmOffset;
      },
    });
    this.room = new WaitRoom(parts.waitersMax);
    this.readers = new KeyedWaiters(ports.clock, this.room);
    const { clock } = ports;
    const now = () => this.now();
    const flush = () => store.log.flush();
    this.receivers = new ReceiveWaiters(this.core, {
      clock,
      room: this.room,
      now,
      flush,
      lookFor: (group) => this.scout.start(group),
      granted: (leased) => this.scout.granted(leased),
      mayGrant: () => !this.isStuck && !this.store.log.tail.closed,
    });
    this.scout = new Scout(this.core, {
      clock,
      store,
      now,
      flush,
      pause: () => this.pause(),
      found: (group) => this.receivers.pump(group),
      wanted: (group) => this.receivers.wanted(group),
      waits: (group, topic) => this.receivers.waits(group, topic),
      report: (error) => ports.report(error instanceof Error ? error : new Error(String(error))),
    });
    this.checks = new Checks(this.core, {
      clock,
      room: this.room,
      checks: ports.checks,
      now,
      flush,
      confirmed: () => this.replies.settled(),
      arm: () => this.timers.arm(),
      report: (error) => ports.report(error),
    });
    this.scheduledIds = new ScheduledIds(this.core, store);
    this.timers = new TimerCore(ports.clock, () => this.now());
    this.timers.add(new Delays(this.core, store.log));
    this.timers.add(this.checks);
    this.expiry = new Expiry(this.core, {
      store,
      retentionMaxMs: parts.retentionMaxMs,
      now,
      pause: () => this.pause(),
      confirmed: () => this.replies.settled(),
      arm: () => this.timers.arm(),
      onCut: ({ name }) => {
        for (const { group } of fold.groups.subscribers(name)) this.receivers.pump(group);
        this.forwarding.wake();
      },
      report: (error) => ports.report(error),
    });
    this.timers.add(this.expiry);
    this.forwarding = new Forwarding(this.core, {
      store,
      now,
      pause: () => this.pause(),
      confirmed: () => this.replies.settled(),
      arm: () => this.timers.arm(),
      report: (error) => ports.report(error),
    });
    this.timers.add(this.forwarding);
    const { log } = ports;
    const { replies, receivers, forwarding } = this;
    const watched = { clock, log, store, replies, receivers, forwarding };
    this.diskWatch = new DiskWatch({ ...watched, arm: () => this.timers.arm() });
    store.timers.onLoaded = () => this.timers.arm();
  }

  /** Leader time. */
  now(): number {
    return this.#time.now();
  }

  /** The time a record appended now would get at least: the log's time may be ahead of the clock. */
  leaderTime(): number {
    return Math.max(this.now(), this.store.log.tail.storedAt);
  }

  get digest(): Digest {
    return this.#ports.digest;
  }

  /** The message with the time it is due, where it was published with a delay. */
  timed(message: NewMessage): NewMessage {
    const { delayMs } = message;
    if (delayMs === undefined) return message;
    return { ...message, deliverAt: delayMs > 0 ? this.#time.in(delayMs) : 0 };
  }

  /** Of leader time before the wall clock. */
  get clockSkewMs(): number {
    return this.now() - this.#ports.clock.now();
  }

  nonce(): Uint8Array {
    return this.#ports.entropy(8);
  }

  entropy(size: number): Uint8Array {
    return this.#ports.entropy(size);
  }

  /** @throws `check-url-refused` */
  checkUrl(url: string | undefined): void {
    if (url === undefined) return;
    const { checks } = this.#ports;
    if (!checks) {
      const detail = "Cannot take a checkUrl: this build makes no calls";
      throw new TidegateError("not-implemented", detail, { feature: "checkUrl" });
    }
    checkUrlOf(url, checks);
  }

  /** @throws `validation-failed` */
  checkSecret(secret: string | undefined): void {
    const fault = secret === undefined ? undefined : this.#ports.checks?.secretFault(secret);
    if (fault === undefined) return;
    const errors = [{ pointer: "/checkSecret", detail: fault }];
    throw new TidegateError("validation-failed", `Cannot use the checkSecret: it ${fault}`, {
      errors,
    });
  }

  /** Lets other work run: between the steps of a long scan. */
  pause(): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.defer(resolve));
  }

  /** Runs a decision now; the answer is given once what it rests on is confirmed. */
  decide<T>(decision: (now: number) => T): Promise<T> {
    if (this.isStuck) return Promise.reject(diskFull("Cannot serve the request"));
    const answer = this.replies.decide(() => decision(this.now()));
    this.store.log.flush();
    return answer;
  }

  /** An error, given once what it rests on is confirmed. */
  async refuse(error: unknown): Promise<never> {
    if (isForRoom(error)) throw error; // it rests on nothing, and is told while nothing is confirmed
    this.store.log.flush();
    await this.replies.confirmed(undefined, "none");
    throw error;
  }

  /** The queue may have something for the subscription. */
  refresh(subscription: Subscription, queueId: number): void {
    if (subscription.topicGen !== undefined) refresh(this.core, popQueue(subscription, queueId));
  }

  /** @throws `disk-full` when nothing can be stored at all. */
  admitDecision(): void {
    if (this.isStuck) throw diskFull("Cannot serve the request");
  }

  /** Nothing can be stored at all. */
  get isStuck(): boolean {
    return this.store.headroom.level === "stuck";
  }

  /** @throws `disk-full` when nothing may be published; `overloaded` when the disk is too far behind. */
  admit(): void {
    if (!this.store.headroom.admits) {
      this.traffic.refusedForRoom++;
      throw diskFull("Cannot publish");
    }
    const { end, confirmOffset } = this.store.log;
    if (end - confirmOffset < UNFLUSHED_BYTES_MAX) return;
    const detail = `Cannot publish: ${UNFLUSHED_BYTES_MAX} bytes wait for the disk`;
    throw new TidegateError("overloaded", detail, { limit: UNFLUSHED_BYTES_MAX });
  }
}

/** It says already what is known while the disk has no room. */
function isForRoom(error: unknown): boolean {
  if (!(error instanceof TidegateError)) return false;
  return error.code === "disk-full" || error.code === "outcome-unknown";
}
