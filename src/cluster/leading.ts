/**
 * A replica that leads: it answers fetches, confirms what every member of the
 * SyncStateSet has synced, and proposes who belongs to the set.
 *
 *   confirmOffset = the least durableEnd over the members of the set, as it is
 *                   and as it may become by a change under way (sync_set.ts)
 *
 * It needs no clock to be right: a later leader is elected only after a member
 * of this set has stopped acknowledging, so from then on nothing here is
 * confirmed. What does need time is its lease (`readUntil`), for reads that
 * must see the latest, and the judgement of who is slow.
 *
 * Handover, on drain or with a disk that hangs or lies: it takes no more, waits
 * for a member that has everything confirmed, and makes the group leaderless
 * with that member as heir. One that is about to stop leaves the set in the same
 * swap, so that nobody waits for it; so does a follower that says so.
 *
 * @module
 */

import type { ReplicaContext } from "./context.ts";
import type { SwapOutcome } from "./effects.ts";
import type { EpochEnd } from "./epoch_table.ts";
import { sameBoot } from "./group_state.ts";
import { type FollowerRecord, FollowerRecords } from "./members.ts";
import type { Fetch, Mend } from "./messages.ts";
import { type Handover, SyncSet } from "./sync_set.ts";

/** A fetch that waits is answered after this time with nothing: the leader lives. */
const PARK_MS = 200;
/** A leader that slept longer between ticks lets the others catch up first. */
const SLEPT_MS = 500;
const LOOK_EVERY_MS = 1000;
/** Its own disk may hang so long. */
const OWN_DISK_MS = 2000;
/** A leader that should not lead waits so long for a member that can. */
const GIVE_UP_MS = 3000;

export class Leading {
  readonly #context: ReplicaContext;
  readonly epoch: number;
  readonly #records: FollowerRecords;
  readonly #set: SyncSet;
  /** Behind the epoch-start record. */
  #startedEnd: number | undefined;
  #replicated = 0;
  #tickedAt: number;
  #lookedAt: number;
  #ownProgressAt: number;
  #yieldingFrom: number;
  #ownDurableEnd: number;

  constructor(context: ReplicaContext, epoch: number) {
    this.#context = context;
    this.epoch = epoch;
    this.#records = new FollowerRecords({ byNode: context.plants.anyBoot ?? false });
    this.#set = new SyncSet(context, this.#records);
    this.#tickedAt = context.now;
    this.#lookedAt = context.now;
    this.#ownProgressAt = context.now;
    this.#yieldingFrom = context.now;
    this.#ownDurableEnd = context.log.durableEnd;
    context.log.epochs.add(epoch, context.log.end);
    context.emit({ kind: "lead", epoch });
  }

  /** Everything this epoch was built on is confirmed: nothing older will turn up. */
  get serves(): boolean {
    const { log, plants } = this.#context;
    if (plants.showEnd) return true;
    return this.#startedEnd !== undefined && log.confirmOffset >= this.#startedEnd;
  }

  /** Nobody else leads while the lease holds: it has not handed over, nor asked to. */
  get alone(): boolean {
    return !this.#set.mayBeOver;
  }

  /** What is appended now is likely to be confirmed soon. */
  get admits(): boolean {
    return this.#startedEnd !== undefined && !this.#yields && this.#set.confirms();
  }

  get #yields(): boolean {
    const { draining, damaged } = this.#context;
    return draining || damaged.length > 0 || this.#hangs;
  }

  get #hangs(): boolean {
    const { log, now } = this.#context;
    return log.durableEnd < log.end && now - this.#ownProgressAt >= OWN_DISK_MS;
  }

  onTick(): void {
    const context = this.#context;
    const { now, log } = context;
    if (now - this.#tickedAt > SLEPT_MS) {
      this.#records.excuse(now);
      this.#set.excuse(now);
      this.#ownProgressAt = now;
      context.look();
    }
    this.#tickedAt = now;
    if (log.durableEnd > this.#ownDurableEnd || log.durableEnd === log.end) {
      this.#ownDurableEnd = log.durableEnd;
      this.#ownProgressAt = now;
    }
    for (const record of this.#records.all()) this.#answerParked(record);
    this.#records.forget(now);
    if (now - this.#lookedAt >= LOOK_EVERY_MS) {
      this.#lookedAt = now;
      context.look();
    }
    this.#propose();
  }

  #propose(): void {
    if (this.#startedEnd === undefined) return;
    this.#set.propose({ atLeast: this.#startedEnd, handover: this.#handover() });
  }

  /** To whom the group goes, once this replica should not lead any more. */
  #handover(): Handover | undefined {
    const { draining, log, now } = this.#context;
    if (!this.#yields) this.#yieldingFrom = now;
    if (!this.#yields) return undefined;
    if (draining && !this.#hangs && log.confirmOffset < log.end) return undefined;
    const heir = this.#set.heir();
    if (heir) return { heir: heir.node, leaves: draining };
    // What is damaged or hangs here may be what keeps the others from catching up.
    const gives = !draining && this.#set.others && now - this.#yieldingFrom >= GIVE_UP_MS;
    return gives ? { heir: undefined, leaves: false } : undefined;
  }

  /** The state was looked at, and this replica still leads. */
  onSight(): void {
    this.#set.onSight();
    this.#confirm();
  }

  onSwapped(id: number, outcome: SwapOutcome): void {
    this.#set.onSwapped(id, outcome);
    this.#confirm();
  }

  onAppended(): void {
    this.#startedEnd ??= this.#context.log.end;
    for (const record of this.#records.all()) this.#answerParked(record);
    this.#confirm();
  }

  onSynced(): void {
    this.#confirm();
    if (this.#context.draining) this.#propose();
  }

  /** It is about to stop. */
  onDrain(): void {
    this.#propose();
  }

  onFetch(fetch: Fetch): void {
    const context = this.#context;
    const { log, now } = context;
    if (fetch.epoch > this.epoch) return context.look();
    if (fetch.epoch < this.epoch) {
      return context.send(fetch.member.node, { kind: "stale", epoch: this.epoch });
    }
    const head = { epoch: this.epoch, boot: fetch.member.boot, id: fetch.id };
    const to = fetch.member.node;
    const proof = this.#proofAgainst(fetch);
    if (fetch.from < log.start || (proof?.epoch === 0 && log.start > 0)) {
      return context.send(to, { kind: "behind", ...head, start: log.start });
    }
    if (proof) return context.send(to, { kind: "diverged", ...head, proof });
    const record = this.#records.of(fetch.member, now);
    record.take(fetch, { now, end: log.end });
    if (!record.parked || record.parked.fetch.id < fetch.id) record.parked = { fetch, at: now };
    this.#answerParked(record);
    this.#confirm();
    this.#propose();
  }

  /** Why the follower's log is not the beginning of this one; undefined when it is. */
  #proofAgainst(fetch: Fetch): EpochEnd | undefined {
    const { log, crcAt } = this.#context;
    const floor = log.epochs.floor(fetch.lastEpoch, log);
    const own = floor.epoch === fetch.lastEpoch && fetch.from <= floor.end;
    if (!own) return floor;
    const crc = fetch.from === log.end ? log.lastCrc : crcAt(fetch.from);
    if (crc !== undefined && crc !== fetch.lastCrc) return { epoch: 0, end: log.start };
    return undefined;
  }

  /** Sends what there is, or after a while that there is nothing. */
  #answerParked(record: FollowerRecord, confirmed = false): void {
    const { parked, sent } = record;
    const { log, now, plants } = this.#context;
    if (!parked) return;
    const { from, member, id } = parked.fetch;
    const head = { epoch: this.epoch, boot: member.boot, id, from };
    if (from < log.end) {
      const onItsWay = sent?.from === from && now - sent.at < PARK_MS;
      if (onItsWay) return;
      const held = log.epochs.at(from, log.end);
      if (!held) return;
      record.sent = { from, at: now };
      const until = plants.spanEpochs ? log.end : held.end;
      this.#context.emit({
        kind: "transfer",
        to: member.node,
        head: { ...head, confirmOffset: log.confirmOffset },
        frameEpoch: held.epoch,
        until,
      });
    } else if (confirmed || now - parked.at >= PARK_MS) {
      this.#context.send(member.node, {
        kind: "entries",
        ...head,
        confirmOffset: log.confirmOffset,
        to: from,
        frameEpoch: log.epochs.last,
        prevCrc: log.lastCrc,
        lastCrc: log.lastCrc,
        bytes: undefined,
      });
    } else return;
    record.parked = undefined;
  }

  onMend({ from, to, epoch, boot, id }: Mend, node: string): void {
    const { log } = this.#context;
    if (epoch !== this.epoch || to > log.end) return;
    if (from < log.start) {
      return this.#context.send(node, { kind: "behind", epoch, boot, id, start: log.start });
    }
    this.#context.emit({ kind: "mend", to: node, epoch, boot, range: { from, to } });
  }

  #confirm(): void {
    const context = this.#context;
    const { log } = context;
    const reached = this.#set.confirmable();
    if (reached !== undefined && log.confirm(reached)) {
      context.emit({ kind: "confirm", confirmOffset: log.confirmOffset });
      for (const record of this.#records.all()) this.#answerParked(record, true);
    }
    const replicated = this.#set.replicated() ?? 0;
    if (replicated <= this.#replicated) return;
    this.#replicated = replicated;
    context.emit({ kind: "replicated", end: replicated });
  }

  /** Whether the state still says that this boot leads in this epoch. */
  get holds(): boolean {
    const { state } = this.#context.sighting;
    return state?.epoch === this.epoch && sameBoot(state.leader, this.#context.self);
  }
}
