/**
 * The shell of a simulated node: it does what the core says on a simulated disk,
 * network and coordinator, and stands in for the broker: it publishes values,
 * keeps a position in the log, answers when they are confirmed, and reads.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Effect, LogRange, Promised, ReplicaEvent } from "../../src/cluster/effects.ts";
import type { Member } from "../../src/cluster/group_state.ts";
import { KEEP_ALIVE_MS, LEASE_TTL_MS, leaseDeadline } from "../../src/cluster/lease.ts";
import type { Entries, Message } from "../../src/cluster/messages.ts";
import { Replica } from "../../src/cluster/replica.ts";
import { TICK_MS } from "../../src/cluster/effects.ts";
import { type BrokerFrame, SimBroker } from "./cluster_broker.ts";
import type { BrokerLoad } from "./cluster_load.ts";
import { makeUnit, SimDisk, type SimRecord, type Unit } from "./cluster_disk.ts";
import { MS } from "./cluster_kernel.ts";
import { SimTakeover } from "./cluster_takeover.ts";
import type { ClusterWorld } from "./cluster_world.ts";

type DiskWork =
  | { readonly kind: "sync" }
  | { readonly kind: "truncate"; readonly to: number }
  | { readonly kind: "promise"; readonly promised: Promised }
  | { readonly kind: "rewrite"; readonly range: LogRange; readonly units: readonly Unit[] };

/** Some day of ours, so that generations are what they are. */
const EPOCH_MS = 1_700_000_000_000;

/** In one transfer, at most: where there is more to do, more is done at once. */
const QUIET_UNITS = 12;
const BUSY_UNITS = 200;

interface Waiting {
  readonly end: number;
  readonly answer: () => void;
}

export class SimNode {
  readonly name: string;
  readonly #world: ClusterWorld;
  disk: SimDisk;
  member: Member;
  replica: Replica | undefined;
  /** Microseconds. */
  pausedUntil = 0;
  slowUntil = 0;
  /** The next sync fails. */
  failSync = false;
  tainted = false;
  draining = false;
  #boots = 0;
  #disks = 0;
  #startedAt = 0;
  readonly #rate: number;
  readonly #events: ReplicaEvent[] = [];
  #stepping = false;
  #work: DiskWork[] = [];
  #working = false;
  #waiting: Waiting[] = [];
  #leaseId = 0;
  /** Between the effects `lead` and `follow`. */
  #leading = false;
  #nextQueueOffset = 0;
  #position = 0;
  /** Of the wall clock from true time, in milliseconds: always a little, and while somebody has set it. */
  readonly #skew: number;
  clockSetBy = 0;
  #broker: SimBroker | undefined;
  #takeover: SimTakeover | undefined;
  /** Up to here its broker knows what is confirmed. */
  #shown = 0;

  constructor(world: ClusterWorld, name: string) {
    this.#world = world;
    this.name = name;
    this.#rate = 0.996 + world.chance.below(9) / 1000;
    this.#skew = world.skew();
    this.disk = new SimDisk(`${name}-disk-0`);
    this.member = { node: name, boot: `${name}-boot-0`, disk: this.disk.id };
  }

  /** Changes with every start and stop. */
  get life(): number {
    return this.#boots;
  }

  get up(): boolean {
    return this.replica !== undefined;
  }

  /** Between two lives: its log gives way to another's. */
  get takesOver(): boolean {
    return this.#takeover !== undefined;
  }

  get paused(): boolean {
    return this.pausedUntil > this.#world.kernel.now;
  }

  /** The node's own clock. */
  #now(): number {
    const { kernel } = this.#world;
    return Math.floor(((kernel.now - this.#startedAt) * this.#rate) / MS);
  }

  // Life

  boot(): void {
    const { kernel, plants } = this.#world;
    assert(!this.replica, "a node boots when it is down");
    this.#boots++;
    this.#startedAt = kernel.now;
    this.member = { node: this.name, boot: `${this.name}-boot-${this.#boots}`, disk: this.disk.id };
    this.draining = false;
    this.#leading = false;
    this.failSync = false;
    this.#leaseId = 0;
    if (!this.#world.standIn.usesHalf) this.disk.endReplacement();
    const restored = this.disk.recover();
    this.#world.oracle.diskChanged(`a start of ${this.name}`);
    this.replica = new Replica({
      self: this.member,
      restored,
      crcAt: (logOffset) => this.disk.endingAt(logOffset)?.crc,
      plants,
    });
    const boot = this.#boots;
    this.#tick(boot);
    this.#keepAlive(boot);
  }

  /** Runs `body` later, in this life of the node and when it is not paused. */
  later(delayUs: number, body: () => void, boot = this.#boots): void {
    const { kernel } = this.#world;
    const run = (): void => {
      if (this.#boots !== boot || !this.up) return;
      if (this.paused) kernel.at(this.pausedUntil, run);
      else body();
    };
    kernel.after(delayUs, run);
  }

  #tick(boot: number): void {
    const next = () => {
      this.step({ kind: "tick" });
      this.later(TICK_MS * MS, next, boot);
    };
    this.later(this.#world.chance.below(TICK_MS * MS), next, boot);
  }

  #keepAlive(boot: number): void {
    const send = () => {
      const sentAt = this.#now();
      const id = this.#leaseId;
      this.#world.askEtcd(
        this,
        (etcd, now) => etcd.keepAlive(this.member, id, now),
        (held) => {
          if (held === undefined) return;
          this.#leaseId = held;
          const late = this.#world.plants.leaseFromReply;
          const until = late
            ? this.#now() + 2 * LEASE_TTL_MS
            : leaseDeadline({ sentAt, ttlMs: LEASE_TTL_MS });
          this.step({ kind: "leased", until, fresh: held !== id });
        },
      );
      this.later(KEEP_ALIVE_MS * MS, send, boot);
    };
    this.later(0, send, boot);
  }

  /** The process ends; what it wrote stays in the page cache. */
  kill(): void {
    if (this.#takeover) return this.#stop();
    if (!this.up) return;
    if (this.#work[0] && this.#world.chance.chance(50)) this.#doWork(this.#work[0]);
    this.#stop();
  }

  losePower(): void {
    this.kill();
    this.disk.losePower(this.#world.chance);
  }

  /**
   * A sync said no: the process ends at once, and what it was to write is gone; of a
   * disk that does so more may be.
   */
  #fail(): void {
    this.#stop();
    this.disk.losePower(this.#world.chance);
    if (this.#world.chance.chance(50)) this.disk.loseSome(this.#world.chance);
    this.disk.failed = true;
    this.tainted = true;
  }

  #stop(): void {
    this.#end();
    this.#world.stopped(this);
  }

  #end(): void {
    this.#takeover?.stop();
    this.#takeover = undefined;
    this.replica = undefined;
    this.#retire();
    this.#boots++;
    this.#work = [];
    this.#working = false;
    this.#waiting = [];
    this.#events.length = 0;
  }

  wipe(): void {
    this.kill();
    this.#changeDisk();
  }

  #changeDisk(): void {
    this.#disks++;
    this.disk = new SimDisk(`${this.name}-disk-${this.#disks}`);
    this.tainted = true;
  }

  /** What is on the disk is of no use, and what is put there is not yet of any. */
  setLogAside(): void {
    this.#changeDisk();
    this.disk.half = true;
  }

  /** The log begins where the leader's does: a new life begins with it. */
  begin(before: Unit | undefined): void {
    this.disk.begin(before);
    this.#takeover = undefined;
    this.#world.kernel.after(MS, () => this.#world.boot(this));
  }

  drain(): void {
    this.draining = true;
    this.step({ kind: "drain" });
  }

  /** The stop after a drain: its lease goes with it. */
  leave(): void {
    this.#world.askEtcd(
      this,
      (etcd) => etcd.revoke(this.member),
      () => {},
    );
    this.kill();
  }

  // The core

  receive(message: Message, from: string): void {
    this.later(0, () => {
      if (message.kind === "entries" && !this.#sound(message)) return;
      this.step({ kind: "message", message, from });
    });
  }

  /** What a shell makes sure of before the core believes a header: it is what the frames say. */
  #sound(entries: Entries): boolean {
    if (this.#world.plants.spanEpochs) return true;
    return unitsOf(entries).every(({ epoch }) => epoch === entries.frameEpoch);
  }

  step(event: ReplicaEvent): void {
    if (!this.replica) return;
    this.#events.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      while (this.replica && this.#events.length > 0)
        this.#take(this.#events.shift() as ReplicaEvent);
    } finally {
      this.#stepping = false;
    }
  }

  #take(event: ReplicaEvent): void {
    const { kernel, chance } = this.#world;
    const { replica } = this;
    if (!replica) return;
    const effects = replica.step(this.#now(), event);
    this.#world.tell?.(`${this.name} ${this.#now()}`, event, effects);
    kernel.note(replica.log.end + replica.log.confirmOffset, effects.length + event.kind.length);
    for (const effect of effects) {
      if (!this.replica) return;
      if (this.#world.crashesInSteps && chance.below(1500) === 0) {
        this.#world.saw("stopped inside a step");
        this.#world.crash(this);
        return;
      }
      this.#do(effect);
    }
  }

  #do(effect: Effect): void {
    const world = this.#world;
    const { oracle } = world;
    const by = this.member;
    switch (effect.kind) {
      case "send":
        return world.send(this, effect.to, effect.message);
      case "transfer":
        return this.later(world.chance.below(300), () => this.#transfer(effect));
      case "look":
        return world.askEtcd(
          this,
          (etcd, now) => etcd.look(now),
          (sighting) => this.step({ kind: "looked", id: effect.id, sighting }),
        );
      case "swap":
        oracle.asksToLead(this, effect.swap, world.etcd.state);
        return world.askEtcd(
          this,
          (etcd, now) => etcd.swap(effect.swap, by, now),
          (outcome) => {
            if (!outcome) world.saw("outcome of a swap unknown");
            const known = outcome ?? ({ kind: "unknown" } as const);
            this.step({ kind: "swapped", id: effect.id, outcome: known });
          },
        );
      case "promise":
        return this.#enqueue({ kind: "promise", promised: effect.promised });
      case "append":
        for (const unit of unitsOf(effect.entries)) {
          oracle.appendedByFollower(this.disk, unit);
          this.disk.append(unit);
          const told = this.replica?.log.epochs.at(unit.from, unit.to)?.epoch;
          assert.equal(told, unit.epoch, "the epoch table says what the frames say");
        }
        return this.#syncSoon();
      case "truncate": {
        const confirmOffset = this.replica?.log.confirmOffset ?? 0;
        oracle.truncating(this, { to: effect.to, confirmOffset });
        world.saw("log cut");
        return this.#enqueue({ kind: "truncate", to: effect.to });
      }
      case "lead":
        world.saw("led");
        this.#leading = true;
        this.#takeOver();
        this.#append({ kind: "epoch-start" });
        if (world.hasBroker && this.replica) this.#openBroker();
        return;
      case "follow":
        this.#leading = false;
        this.#retire();
        this.#waiting = [];
        return;
      case "confirm":
        return this.#onConfirm(effect.confirmOffset);
      case "replicated":
        return;
      case "mend":
        return this.#mend(effect);
      case "rewrite":
        return this.#enqueue({
          kind: "rewrite",
          range: effect.range,
          units: effect.bytes as readonly Unit[],
        });
      case "snapshot":
        return this.later(0, () => this.#giveWay());
      case "quarantine":
        throw new Error(`${this.name} is quarantined: ${effect.reason}`);
      default:
        throw new Error(`Unknown effect ${JSON.stringify(effect)}`);
    }
  }

  // The log

  #transfer(effect: Effect & { readonly kind: "transfer" }): void {
    const { head, until, frameEpoch } = effect;
    const { chance } = this.#world;
    const first = this.disk.countBelow(head.from);
    const units: Unit[] = [];
    const most = this.#world.hasBroker ? BUSY_UNITS : QUIET_UNITS;
    for (let i = first; i < this.disk.units.length && units.length < 1 + chance.below(most); i++) {
      const unit = this.disk.units[i] as Unit;
      if (unit.to > until || this.disk.damaged.has(unit)) break;
      units.push(unit);
    }
    const [begin, last] = [units[0], units.at(-1)];
    if (!begin || !last || begin.from !== head.from) return;
    const message: Entries = {
      kind: "entries",
      ...head,
      to: last.to,
      frameEpoch,
      prevCrc: begin.prev?.crc ?? 0,
      lastCrc: last.crc,
      bytes: units,
    };
    this.#world.send(this, effect.to, message);
  }

  /** @param size of it, at least. */
  #append(record: SimRecord, size = 1): number {
    const { replica, disk } = this;
    assert(replica?.leads, "a leader appends");
    const unit = makeUnit({
      epoch: replica.epoch,
      from: disk.end,
      to: disk.end + size + this.#world.chance.below(60),
      prev: disk.last,
      confirmOffset: replica.log.confirmOffset,
      record,
    });
    this.#world.oracle.appendedByLeader(this.member, unit);
    disk.append(unit);
    this.#syncSoon();
    this.step({ kind: "appended", end: unit.to, lastCrc: unit.crc });
    return unit.to;
  }

  #syncSoon(): void {
    if (this.#work.some(({ kind }) => kind === "sync")) return;
    this.#enqueue({ kind: "sync" });
  }

  #enqueue(work: DiskWork): void {
    this.#work.push(work);
    if (!this.#working) this.#startWork();
  }

  #startWork(): void {
    const work = this.#work[0];
    this.#working = work !== undefined;
    if (!work) return;
    const { kernel, chance } = this.#world;
    const covered = this.disk.units.length;
    const usual = 100 + chance.below(3 * MS);
    const takes = this.slowUntil > kernel.now ? this.slowUntil - kernel.now + usual : usual;
    this.later(takes, () => {
      if (work.kind === "sync" && this.failSync && this.#world.troubles.spares(this)) {
        this.#world.saw("sync failed");
        return this.#fail();
      }
      this.#work.shift();
      const event = this.#doWork(work, covered);
      if (work.kind === "sync" && this.disk.synced < this.disk.units.length) this.#syncSoon();
      this.#working = false;
      this.#startWork();
      if (event) this.step(event);
    });
  }

  #doWork(work: DiskWork, covered = this.disk.units.length): ReplicaEvent | undefined {
    const { disk } = this;
    switch (work.kind) {
      case "sync":
        disk.synced = Math.max(disk.synced, Math.min(covered, disk.units.length));
        return { kind: "synced", end: disk.syncedEnd };
      case "truncate":
        disk.truncate(work.to);
        this.#world.oracle.diskChanged(`a cut of ${this.name}`);
        return { kind: "truncated", end: disk.end, lastCrc: disk.last?.crc ?? 0 };
      case "promise":
        disk.promised = work.promised;
        return { kind: "promised", promised: work.promised };
      case "rewrite":
        return this.#rewrite(work.range, work.units);
      default:
        return undefined;
    }
  }

  /** Some of what lies on the disk is not what was written. */
  decay(): void {
    const { disk } = this;
    const unit = disk.units[this.#world.chance.below(disk.synced)];
    if (!unit) return;
    disk.damaged.add(unit);
    this.tainted = true;
    this.#world.saw("bytes decayed");
    this.step({ kind: "damaged", range: { from: unit.from, to: unit.to } });
  }

  #mend({ to, epoch, boot, range }: Effect & { readonly kind: "mend" }): void {
    const units = this.disk.units.filter(({ from }) => from >= range.from && from < range.to);
    if (units.some((unit) => this.disk.damaged.has(unit)) || units.at(-1)?.to !== range.to) return;
    this.#world.send(this, to, { kind: "mended", epoch, boot, ...range, bytes: units });
  }

  #rewrite(range: LogRange, units: readonly Unit[]): ReplicaEvent | undefined {
    if (!units.every((unit) => this.disk.holds(unit))) return undefined; // cut meanwhile
    for (const unit of units) this.disk.damaged.delete(unit);
    this.#world.saw("bytes mended");
    return { kind: "repaired", range };
  }

  /** This life ends, and between it and the next the log gives way to the leader's. */
  #giveWay(): void {
    this.#end();
    this.#takeover = new SimTakeover(this.#world, this);
  }

  // The broker

  #takeOver(): void {
    const { standIn } = this.#world;
    const { disk, replica } = this;
    const end = standIn.offsetsFromConfirm ? replica?.log.confirmOffset : disk.end;
    const seen = disk.units.filter(({ to }) => to <= (end ?? 0)).map(({ record }) => record);
    const value = seen.findLast((record) => record.kind === "value");
    const before = this.disk.before && lastBefore(this.disk.before, "value");
    this.#nextQueueOffset = (value?.queueOffset ?? before?.queueOffset ?? -1) + 1;
  }

  /** Somebody publishes here, be this the leader or one that still thinks so. */
  publish(value: number): void {
    const { oracle } = this.#world;
    const { replica } = this;
    if (!replica?.leads || this.paused) return;
    if (!replica.admits) return oracle.refused(value);
    const end = this.#append({ kind: "value", value, queueOffset: this.#nextQueueOffset++ });
    this.#wait({ end, answer: () => oracle.acked(value, end) });
  }

  /** Somebody publishes again what was answered once, with the same key. */
  publishAgain(value: number): void {
    const { replica } = this;
    const { oracle, etcd } = this.#world;
    // What one appends that only thinks it leads is never confirmed, so nobody is answered.
    const leads = etcd.state.leader?.boot === this.member.boot;
    if (!leads || !replica?.serves || !replica.admits || this.paused) return;
    oracle.keyAsked(this, value);
    if (this.disk.keys.has(value)) this.#world.saw("key of before known");
  }

  storePosition(position: number): void {
    const { replica } = this;
    if (!replica?.leads || !replica.admits || this.paused) return;
    if (this.#world.standIn.positionsBeside) {
      this.#position = position;
      return this.#world.oracle.positionAcked(position);
    }
    const end = this.#append({ kind: "position", position });
    this.#wait({ end, answer: () => this.#world.oracle.positionAcked(position) });
  }

  #wait(waiting: Waiting): void {
    if (!this.replica?.leads) return;
    if (waiting.end <= this.replica.log.confirmOffset) waiting.answer();
    else this.#waiting.push(waiting);
  }

  /** Out of all there is in the log, confirmed or not. */
  #openBroker(): void {
    const { disk, replica } = this;
    const confirmOffset = replica?.log.confirmOffset ?? 0;
    const units: Unit[] = [];
    for (let unit = disk.last; unit; unit = unit.prev) units.push(unit);
    units.reverse();
    const past = units.flatMap(framesOf);
    const confirmed = units.filter(({ to }) => to <= confirmOffset).flatMap(framesOf).length;
    const { life } = this;
    const ports = {
      past,
      end: () => disk.end,
      append: (frames: readonly BrokerFrame[]) => {
        if (this.life !== life || !this.replica?.leads) return; // it has ended in the midst of a decision
        this.#append({ kind: "broker", frames, at: this.#world.kernel.now }, frames.length);
      },
      wallNow: () => EPOCH_MS + this.#world.kernel.now / MS + this.#skew + this.clockSetBy,
      elapsed: () => ((this.#world.kernel.now - this.#startedAt) * this.#rate) / MS,
    };
    this.#shown = confirmOffset;
    this.#broker = new SimBroker(ports, confirmed);
  }

  /** Nothing is kept of what a leader knew; its clock is put right. */
  #retire(): void {
    this.#broker = undefined;
    this.clockSetBy = 0;
  }

  /** Clients of the broker ask it something, if it takes anything. */
  serve(load: BrokerLoad): void {
    const broker = this.#broker;
    if (!broker || !this.replica?.serves || !this.replica.admits || this.paused) return;
    const { end } = this.disk;
    load.act(broker, (answer) => {
      const sure = () => this.#hasLedSince(end) && answer();
      this.#wait({ end: this.disk.end, answer: sure });
    });
  }

  /** As the gate of a node asks before it lets an answer out (broker_gate.ts). */
  #hasLedSince(end: number): boolean {
    const { replica } = this;
    if (!replica?.leads) return false;
    if (this.#world.standIn.answersUnsure) return true;
    return replica.log.confirmOffset > end || replica.readsLatest(this.#now());
  }

  /** What its broker takes to be out with consumers. */
  get open(): ReadonlySet<string> | undefined {
    return this.#broker?.open;
  }

  #onConfirm(offset: number): void {
    const { oracle } = this.#world;
    if (!this.#leading) return oracle.confirmedByFollower(this, offset);
    oracle.confirmedByLeader(this, offset);
    const done = this.#waiting.filter(({ end }) => end <= offset);
    this.#waiting = this.#waiting.filter(({ end }) => end > offset);
    this.#broker?.confirmed(this.#newlyConfirmed(offset));
    for (const { answer } of done) answer();
  }

  #newlyConfirmed(offset: number): BrokerFrame[] {
    const from = this.#shown;
    this.#shown = offset;
    const units: Unit[] = [];
    for (let unit = this.disk.endingAt(offset); unit && unit.from >= from; unit = unit.prev)
      units.push(unit);
    return units.toReversed().flatMap(framesOf);
  }

  get unanswered(): number {
    return this.#waiting.length;
  }

  /** Somebody asks how far there is something to read: it must be all that was ever answered. */
  read(): void {
    const { replica } = this;
    if (!replica?.serves || this.paused) return;
    if (!replica.readsLatest(this.#now())) return this.#world.saw("lease ran out before a read");
    const { oracle, plants } = this.#world;
    oracle.read(this, plants.showEnd ? replica.log.end : replica.log.confirmOffset);
    if (this.#world.standIn.positionsBeside) oracle.positionRead(this, this.#position);
    else oracle.positionRead(this, this.#positionConfirmed(replica.log.confirmOffset));
  }

  #positionConfirmed(confirmOffset: number): number {
    for (let unit = this.disk.endingAt(confirmOffset); unit; unit = unit.prev) {
      if (unit.record.kind === "position") return unit.record.position;
    }
    return 0;
  }

  /** Retention lets go of some of what is confirmed. */
  trim(prng = this.#world.chance): void {
    const { replica, disk } = this;
    if (!replica || this.paused) return;
    const confirmed = disk.countBelow(Math.min(replica.log.confirmOffset, disk.syncedEnd));
    const unit = disk.units[prng.below(Math.max(1, confirmed))];
    if (!unit || unit.to > replica.log.confirmOffset || disk.damaged.size > 0) return;
    if (this.#work.some(({ kind }) => kind === "truncate" || kind === "sync")) return;
    disk.trim(unit.from);
    this.#world.saw("log trimmed");
    this.step({ kind: "trimmed", start: disk.start });
  }
}

function unitsOf(entries: Entries): readonly Unit[] {
  return (entries.bytes as readonly Unit[] | undefined) ?? [];
}

function framesOf({ record }: Unit): readonly BrokerFrame[] {
  return record.kind === "broker" ? record.frames : [];
}

function lastBefore(from: Unit, kind: "value"): (SimRecord & { kind: "value" }) | undefined {
  for (let unit: Unit | undefined = from; unit; unit = unit.prev) {
    if (unit.record.kind === kind) return unit.record;
  }
  return undefined;
}
