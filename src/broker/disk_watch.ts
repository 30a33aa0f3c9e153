/**
 * What the broker makes of a disk that fills up (storage/headroom.ts).
 *
 *   high     said once; what nobody needs is looked for more often
 *   full     the same; a segment that could go and is the active one is ended, for
 *            only those before it can go
 *   stuck    no decision is taken any more; whoever waits for the log is told in
 *            time what is known, and the node's own work waits
 *   better   said once; receives that waited are granted
 *
 * A publish is refused by the shell (`admit`). One line is logged for each change of
 * level, none for a request.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Log, LogLevel } from "../../storage/base/logger.ts";
import type { Level, MessageStore } from "../../storage/mod.ts";
import type { Forwarding } from "./forwarding.ts";
import type { ReceiveWaiters } from "./receive_waiters.ts";
import type { Replies } from "./replies.ts";

/** Whoever waits for an answer waits no longer, when the disk is stuck. */
const PATIENCE_MS = 5000;
/** Between two looks for what can go, while room is short. */
const LOOK_MS = 10_000;

const SAID: Readonly<Record<Level, readonly [LogLevel, string]>> = {
  ample: ["info", "There is room on the disk"],
  high: ["warn", "The disk is filling up"],
  full: ["warn", "The disk is nearly full: publishes are refused until there is room"],
  stuck: ["error", "The disk is full: nothing can be stored until there is room"],
};

interface Parts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: MessageStore;
  readonly replies: Replies;
  readonly receivers: ReceiveWaiters;
  readonly forwarding: Forwarding;
  arm(): void;
}

export class DiskWatch {
  readonly #parts: Parts;
  #level: Level = "ample";
  #cancelPatience = () => {};
  #cancelLook: (() => void) | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  start(): void {
    const { headroom } = this.#parts.store;
    headroom.onLevel = (level) => this.#tell(level);
    if (headroom.level !== this.#level) this.#tell(headroom.level);
  }

  stop(): void {
    this.#cancelPatience();
    this.#cancelLook?.();
  }

  #tell(level: Level): void {
    const { log, store } = this.#parts;
    const before = this.#level;
    this.#level = level;
    const { free, size } = store.headroom.space ?? {};
    const [how, what] = SAID[level];
    log(how, what, { freeBytes: free, sizeBytes: size });
    if (level === "stuck") this.#bear();
    if (before === "stuck") this.#goOn();
    if (level !== "ample") this.#cancelLook ??= this.#lookAgain();
  }

  #bear(): void {
    const { clock, replies } = this.#parts;
    this.#cancelPatience = clock.after(PATIENCE_MS, () => replies.giveUp());
  }

  #goOn(): void {
    const { replies, receivers, arm } = this.#parts;
    this.#cancelPatience();
    replies.goOn();
    receivers.pumpAll();
    arm();
  }

  #lookAgain(): () => void {
    const { clock, forwarding, store, arm } = this.#parts;
    if (this.#level === "full") store.log.endSegment();
    forwarding.wake();
    arm();
    return clock.after(LOOK_MS, () => {
      this.#cancelLook = this.#level === "ample" ? undefined : this.#lookAgain();
    });
  }
}
