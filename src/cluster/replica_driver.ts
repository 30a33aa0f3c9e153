/**
 * The shell of one life of a replica: it hands the core what happens, one event at
 * a time with the time, and does what the core says. It decides nothing.
 *
 *            messages, ticks, the lease, the watch, what the log tells
 *                              │
 *                              ▼
 *   events ───────────▶ replica.step(now) ───────────▶ effects, in order
 *      ▲                                                  │
 *      ├── answers, or that none came ── coordinator ◀────┤
 *      ├── done, one after the other ─── log work ◀───────┤
 *      └── …                             messages out ◀───┘
 *
 * What changes the log is done in the order of the effects, each once the one before
 * is done, and told of in that order. What only reads it (bytes for a follower) is
 * not: it says what the log holds at that moment, and that is what it is asked for.
 *
 * The coordinator is given a time to answer. A look that does not come is told as
 * such; a swap that does not come is `unknown`, whatever is heard of it later.
 *
 * A life ends when the core says so: a log that led cannot follow, one that is to be
 * replaced is of no use, and one that may not be believed is left alone. From then on
 * nothing is told to the core and nothing is asked of the log.
 *
 * @module
 */

import { unreachable } from "../../storage/base/assert.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Liveness } from "./coordinator.ts";
import type { DriverEvents, DriverOptions, DriverPorts, LifeEnd } from "./driver_ports.ts";
import { type Effect, type ReplicaEvent, type SwapOutcome, TICK_MS } from "./effects.ts";
import { within } from "./deadline.ts";
import type { Entries, Message } from "./messages.ts";
import { Pace } from "./pace.ts";
import { Replica } from "./replica.ts";
import { Transfers } from "./transfers.ts";

const LOOK_MS = 1500;
const SWAP_MS = 2500;

export class ReplicaDriver {
  readonly replica: Replica;
  /** Of what goes to others than the members of the SyncStateSet. */
  readonly pace: Pace;
  readonly #ports: DriverPorts;
  readonly #events: DriverEvents;
  readonly #options: DriverOptions;
  readonly #transfers: Transfers;
  readonly #queue: ReplicaEvent[] = [];
  #stepping = false;
  /** Work on the log that is to be done; the first is under way. */
  readonly #work: (() => Promise<void> | void)[] = [];
  #led = false;
  #over = false;
  #liveness: Liveness | undefined;
  readonly #ends: (() => void)[] = [];

  constructor(ports: DriverPorts, options: DriverOptions, events: DriverEvents) {
    const { log } = ports;
    this.#ports = ports;
    this.#options = options;
    this.#events = events;
    const crcAt = (logOffset: number) => log.crcAt(logOffset);
    this.replica = new Replica({ self: options.self, restored: log.restored, crcAt });
    this.pace = new Pace(ports.clock, options.catchUpRate);
    this.#transfers = new Transfers({
      log,
      pace: this.pace,
      send: (to, message) => this.#send(to, message),
      failed: (error) => this.#fail(error),
    });
    log.listen({
      appended: (tail) => this.#take({ kind: "appended", ...tail }),
      synced: (end) => this.#take({ kind: "synced", end }),
      trimmed: (start) => this.#take({ kind: "trimmed", start }),
      damaged: (range) => this.#take({ kind: "damaged", range }),
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Takes part from now on. */
  start(): void {
    const { coordinator, clock } = this.#ports;
    const { group, self } = this.#options;
    this.#liveness = coordinator.live(group, self, {
      onLease: (lease) => this.#take({ kind: "leased", ...lease }),
    });
    this.#ends.push(coordinator.watch(group, () => this.#take({ kind: "hint" })));
    let cancel = () => {};
    const tick = () => {
      this.#take({ kind: "tick" });
      if (!this.#over) cancel = clock.after(TICK_MS, tick);
    };
    this.#ends.push(() => cancel());
    tick();
  }

  receive(message: Message, from: string): void {
    this.#take({ kind: "message", message, from });
  }

  /** This node is about to stop: it hands over what it leads, and does not run again. */
  drain(): void {
    this.#take({ kind: "drain" });
  }

  /** An operator accepts that what only others hold is lost. */
  force(): void {
    this.#take({ kind: "force" });
  }

  /** Whether an answer that rests on nothing new may leave now. */
  get readsLatest(): boolean {
    return !this.#over && this.replica.readsLatest(this.#ports.clock.elapsed());
  }

  /** Takes part no longer, and lets its lease go. Resolves in bounded time. */
  async stop(): Promise<void> {
    this.#finish();
    await this.#liveness?.end();
  }

  #finish(): void {
    this.#over = true;
    this.#queue.length = 0;
    this.#work.length = 0;
    this.#transfers.stop();
    for (const end of this.#ends.splice(0)) end();
  }

  #end(end: LifeEnd): void {
    if (this.#over) return;
    this.#finish();
    this.#events.onEnd(end);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#finish();
    this.#ports.fatal(error);
  }

  #take(event: ReplicaEvent): void {
    if (this.#over) return;
    this.#queue.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) this.#step(next);
    } finally {
      this.#stepping = false;
    }
  }

  #step(event: ReplicaEvent): void {
    if (event.kind === "message" && !this.#believes(event.message)) return;
    const { confirmOffset } = this.replica.log;
    const { leads, serves } = this.replica;
    for (const effect of this.replica.step(this.#ports.clock.elapsed(), event)) {
      if (this.#over) return;
      this.#do(effect);
    }
    const { replica } = this;
    const moved = replica.log.confirmOffset !== confirmOffset;
    if (moved || replica.leads !== leads || replica.serves !== serves) this.#events.onChange();
  }

  /** The core believes what a header says of its frames: so they are looked at first. */
  #believes(message: Message): boolean {
    if (message.kind !== "entries" || message.from === message.to) return true;
    // Those that nothing is done with need not be sound.
    if (!this.#wanted(message) || this.#ports.log.sound(message)) return true;
    const { from, to, frameEpoch } = message;
    this.#ports.journal("warn", "Frames of the leader are not sound", { from, to, frameEpoch });
    return false;
  }

  #wanted({ from, boot, epoch }: Entries): boolean {
    const { replica } = this;
    return from === replica.log.end && boot === this.#options.self.boot && epoch === replica.epoch;
  }

  #do(effect: Effect): void {
    const { log } = this.#ports;
    switch (effect.kind) {
      case "send":
        return this.#send(effect.to, effect.message);
      case "transfer":
        return this.#transfers.transfer(effect, { counts: this.#counts(effect) });
      case "mend":
        return this.#transfers.mend(effect);
      case "look":
        return void this.#look(effect.id);
      case "swap":
        return void this.#swap(effect);
      case "append":
        return this.#enqueue(() => log.append(effect.entries));
      case "confirm":
        return this.#enqueue(() => log.confirm(effect.confirmOffset));
      case "replicated":
        return this.#enqueue(() => log.replicated(effect.end));
      case "promise":
        return this.#enqueue(async () => {
          await log.promise(effect.promised);
          this.#take({ kind: "promised", promised: effect.promised });
        });
      case "truncate":
        return this.#truncate(effect);
      case "rewrite":
        return this.#rewrite(effect);
      case "lead":
        return this.#lead(effect.epoch);
      case "follow":
        if (this.#led) this.#end({ kind: "deposed" });
        return;
      case "snapshot":
        return this.#end({ kind: "snapshot", from: effect.from, epoch: effect.epoch });
      case "quarantine":
        return this.#end({ kind: "quarantined", reason: effect.reason });
      default:
        return unreachable(effect);
    }
  }

  #send(to: string, message: Message): void {
    if (!this.#over) this.#ports.send(to, message);
  }

  /** Whether publishes wait for whom the bytes are for. */
  #counts({ to, head }: Effect & { readonly kind: "transfer" }): boolean {
    const { state } = this.replica.sighting;
    return state?.syncSet.some(({ node, boot }) => node === to && boot === head.boot) ?? false;
  }

  // The log

  /** One after the other; at once where nothing is under way. */
  #enqueue(work: () => Promise<void> | void): void {
    this.#work.push(work);
    if (this.#work.length === 1) this.#workOn();
  }

  #workOn(): void {
    for (let work = this.#work[0]; work && !this.#over; work = this.#work[0]) {
      try {
        const done = work();
        if (done)
          return void done.then(
            () => this.#worked(),
            (error: unknown) => this.#fail(error),
          );
      } catch (error) {
        return this.#fail(error);
      }
      this.#work.shift();
    }
  }

  #worked(): void {
    this.#work.shift();
    this.#workOn();
  }

  #truncate({ to, proof, epoch }: Effect & { readonly kind: "truncate" }): void {
    const { end, confirmOffset } = this.replica.log;
    this.#ports.journal("warn", "The log is cut: its end was never confirmed", {
      from: end,
      to,
      confirmOffset,
      leaderEpoch: epoch,
      proofEpoch: proof.epoch,
      proofEnd: proof.end,
    });
    this.#enqueue(async () => {
      try {
        const tail = await this.#ports.log.truncate(to);
        this.#take({ kind: "truncated", ...tail });
      } catch (error) {
        // What was folded cannot be undone; an operator's word alone asks for that.
        if (!(error instanceof TidegateError) || error.code !== "data-damaged") throw error;
        const from = this.replica.leader?.node ?? "";
        this.#end({ kind: "snapshot", from, epoch });
      }
    });
  }

  #rewrite({ range, bytes }: Effect & { readonly kind: "rewrite" }): void {
    this.#enqueue(async () => {
      if (!(bytes instanceof Uint8Array)) return;
      if (!(await this.#ports.log.rewrite(range, bytes))) return;
      this.#ports.journal("info", "A damaged range is healed", { ...range });
      this.#take({ kind: "repaired", range });
    });
  }

  #lead(epoch: number): void {
    this.#led = true;
    // What is confirmed meanwhile goes on: only what came before must be done.
    this.#enqueue(() => {
      this.#events.onLead(epoch).catch((error: unknown) => this.#fail(error));
    });
  }

  // The coordinator

  async #look(id: number): Promise<void> {
    const { clock, coordinator } = this.#ports;
    const asked = coordinator.look(this.#options.group);
    const sighting = await within(clock, { ms: LOOK_MS, work: asked }).catch(() => undefined);
    this.#take({ kind: "looked", id, sighting });
  }

  async #swap({ id, swap }: Effect & { readonly kind: "swap" }): Promise<void> {
    const { clock, coordinator } = this.#ports;
    const asked = coordinator.swap(this.#options.group, swap);
    const answer: SwapOutcome | undefined = await within(clock, { ms: SWAP_MS, work: asked }).catch(
      () => undefined,
    );
    this.#take({ kind: "swapped", id, outcome: answer ?? { kind: "unknown" } });
  }
}
