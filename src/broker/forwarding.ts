/**
 * Moving the log's start: when nothing visible needs its first segments any more,
 * what is still held there is copied forward, and they go. A source of the clock
 * timer, at most one move at a time.
 *
 *   resting ──its time, or wake()──▶ looking ──nothing can go──▶ resting
 *                                      │ X
 *                                      ▼
 *                       bodies carried ──▶ entities described ──▶ confirmed
 *                          ▲                                         │ asked again
 *                          └──── more is held since ────────────────┤
 *                                                                    ▼
 *                                                  storage: nothing before X is needed
 *
 * X is chosen so that at most half of what goes is copied. A log of messages that
 * wait has nothing visible at its beginning, and would be copied again each minute.
 *
 * Each step is small and waits until the one before is confirmed, so that a move
 * neither floods the log nor holds up others. A crash in between costs the copies
 * made so far; nothing is removed before all of them are confirmed.
 *
 * @module
 */

import type { MessageStore } from "../../storage/mod.ts";
import type { Core } from "./core.ts";
import { trimLetters } from "./dead_letters.ts";
import { describeAll } from "./describe.ts";
import { carryHalves, carryHeld, carryTimers } from "./held.ts";
import type { TimerSource } from "./timer_core.ts";

const LOOK_MS = { wake: 1000, rest: 60_000 } as const;
/** What waits in a segment only becomes less; it takes reading all of it to know. */
const COUNT_MS = 3_600_000;
/** Appended in one go, about. */
const STEP = { records: 256, bytes: 1024 * 1024 } as const;

interface ForwardingPorts {
  readonly store: MessageStore;
  now(): number;
  pause(): Promise<void>;
  confirmed(): Promise<void>;
  arm(): void;
  report(error: Error): void;
}

export class Forwarding implements TimerSource {
  readonly #core: Core;
  readonly #ports: ForwardingPorts;
  /** By segment: bytes of the messages that wait there, when they were counted. */
  readonly #waiting = new Map<number, { readonly bytes: number; readonly at: number }>();
  #lookAt = Infinity;
  #looking = false;
  #stopped = false;

  constructor(core: Core, ports: ForwardingPorts) {
    this.#core = core;
    this.#ports = ports;
  }

  get wakeAt(): number {
    return this.#looking || this.#stopped ? Infinity : this.#lookAt;
  }

  /** The log grew: once there is a second segment, the first may go some day. */
  confirmed(): void {
    if (this.#lookAt < Infinity || this.#looking) return;
    if (this.#ports.store.log.segments.length > 1) this.#lookAt = this.#ports.now() + LOOK_MS.rest;
  }

  /** Messages went: something may be able to go. */
  wake(): void {
    if (this.#ports.store.log.segments.length < 2) return;
    this.#lookAt = Math.min(this.#lookAt, this.#ports.now() + LOOK_MS.wake);
  }

  stop(): void {
    this.#stopped = true;
  }

  run(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#lookAt = Infinity;
    this.#look()
      .catch((error: unknown) => {
        this.#ports.report(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        this.#looking = false;
        const { store, now, arm } = this.#ports;
        if (store.log.segments.length > 1) {
          this.#lookAt = Math.min(this.#lookAt, now() + LOOK_MS.rest);
        }
        arm();
      });
  }

  async #look(): Promise<void> {
    const { store } = this.#ports;
    const start = await this.#worthwhile(await store.disposal.nextStart());
    if (start <= store.log.start || this.#stopped) return;
    this.#trimLetters();
    for (const { base, end } of store.log.segments) {
      if (base < start && end !== undefined) {
        await this.#pace(carryTimers(this.#shelf, { base, end }));
      }
    }
    await this.#carryBodies(start);
    await this.#pace(describeAll(this.#core, { start, now: () => this.#ports.now() }));
    if (!(await this.#isFree(start)) || this.#stopped || store.log.failed) return;
    await store.dropBefore(start);
    this.#core.fold.forgetBefore(store.log.start);
    for (const base of this.#waiting.keys()) if (base < start) this.#waiting.delete(base);
  }

  /** The greatest start, `most` or before, for which no more is copied than is gained. */
  async #worthwhile(most: number): Promise<number> {
    const { log } = this.#ports.store;
    let [start, size, waiting] = [log.start, 0, 0];
    for (const { base, end } of [...log.segments]) {
      if (end === undefined || end > most || this.#stopped) break;
      size += end - base;
      waiting += await this.#waitingIn({ base, end });
      if (2 * waiting <= size) start = end;
    }
    return start;
  }

  async #waitingIn(segment: { readonly base: number; readonly end: number }): Promise<number> {
    const { store, now } = this.#ports;
    const known = this.#waiting.get(segment.base);
    if (known && now() - known.at < COUNT_MS) return known.bytes;
    let bytes = 0;
    await store.timersIn(segment, ({ size }) => {
      bytes += size;
    });
    this.#waiting.set(segment.base, { bytes, at: now() });
    return bytes;
  }

  /** Of what was removed and is held, and of what waits for a decision. */
  async #carryBodies(start: number): Promise<void> {
    await this.#pace(carryHalves(this.#shelf, start));
    await this.#pace(carryHeld(this.#shelf, start));
  }

  /**
   * Whether nothing before `start` is needed any more. What was removed while it was asked may
   * be held, and its body lie there: then it is asked again. A timer that fired meanwhile keeps
   * its segment.
   */
  async #isFree(start: number): Promise<boolean> {
    while (!this.#stopped) {
      const { cuts } = this.#core.fold;
      await this.#carryBodies(start);
      if ((await this.#ports.store.disposal.nextStart()) < start) return false;
      if (this.#core.fold.cuts === cuts) return true;
    }
    return false;
  }

  get #shelf() {
    const { store } = this.#ports;
    return { core: this.#core, store, now: () => this.#ports.now() };
  }

  /** What is past the bounds of the dead letters need not be carried. */
  #trimLetters(): void {
    const now = this.#ports.now();
    for (const group of this.#core.fold.groups.all()) trimLetters(this.#core, { group, now });
  }

  /** Runs the steps, some at a time, each lot confirmed before the next. */
  async #pace(steps: Iterable<number> | AsyncIterable<number>): Promise<void> {
    let [records, bytes] = [0, 0];
    for await (const size of steps) {
      if (this.#stopped) return;
      records++;
      bytes += size;
      if (records < STEP.records && bytes < STEP.bytes) continue;
      [records, bytes] = [0, 0];
      await this.#confirm();
    }
    await this.#confirm();
  }

  async #confirm(): Promise<void> {
    const { store, confirmed, pause } = this.#ports;
    store.log.flush();
    await confirmed();
    await pause();
  }
}
