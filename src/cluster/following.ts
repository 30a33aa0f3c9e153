/**
 * A replica that follows: it asks the leader for what comes behind its end,
 * appends it, and says how far it has synced.
 *
 *            entries                    diverged, with proof
 *   fetch ◀───────────▶ append     fetch ─────────────────▶ cut ─▶ fetch
 *                                        behind
 *                                  fetch ─────▶ snapshot ─▶ fetch
 *
 * Whether it is a member of the SyncStateSet or a learner makes no difference
 * here: the leader counts. An answer is believed only if it is of the epoch this
 * replica follows and meant for this boot; a cut only if it answers the last
 * question as well.
 *
 * Promises: nothing is cut below the confirmOffset this replica has seen, but
 * for an operator's word. Nothing of an epoch is acknowledged while an election
 * it asked for, to a later one, may still be made.
 *
 * @module
 */

import { assert } from "../../storage/base/assert.ts";
import type { ReplicaContext } from "./context.ts";
import { cutFor, type EpochEnd } from "./epoch_table.ts";
import { type Member, sameBoot } from "./group_state.ts";
import type { AnswerHead, Behind, Diverged, Entries, Mended } from "./messages.ts";

/** A fetch that was not answered for so long is sent again. */
const FETCH_PATIENCE_MS = 500;
const MEND_PATIENCE_MS = 500;

export class Following {
  readonly #context: ReplicaContext;
  epoch = -1;
  leader: Member | undefined;
  /** When the leader last answered, or began to be followed. */
  heardAt: number;
  /** The leader found our end in its log, in this epoch. */
  #matched = false;
  #fetchId = 0;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #mendId = 0;
  #mendedAt = Number.NEGATIVE_INFINITY;

  constructor(context: ReplicaContext) {
    this.#context = context;
    this.heardAt = context.now;
  }

  onSight(): void {
    const context = this.#context;
    const { state, revision } = context.sighting;
    if (!state) {
      const deletes = context.plants.deleteOrphan && revision === 0 && context.log.end > 0;
      if (deletes && !context.reshaping) this.#cut(0, { epoch: 0, end: 0 });
      return;
    }
    const other = state.epoch !== this.epoch || !sameLeader(state.leader, this.leader);
    if (other) this.#turnTo(state.epoch, state.leader);
    else if (this.#due()) this.fetch();
  }

  #turnTo(epoch: number, leader: Member | undefined): void {
    const context = this.#context;
    if (epoch !== this.epoch) context.emit({ kind: "follow", epoch });
    this.epoch = epoch;
    this.leader = leader;
    this.heardAt = context.now;
    this.#matched = false;
    const { log } = context;
    if (context.plants.cutToConfirm && log.end > log.confirmOffset && !context.reshaping) {
      this.#cut(log.confirmOffset, { epoch, end: log.confirmOffset });
    }
    this.fetch();
  }

  onTick(): void {
    const context = this.#context;
    if (this.#due()) this.fetch();
    const damaged = context.damaged[0];
    if (!damaged || !this.#matched || !this.leader) return;
    if (context.now - this.#mendedAt < MEND_PATIENCE_MS) return;
    this.#mendedAt = context.now;
    this.#mendId = context.nextId();
    const head = { epoch: this.epoch, boot: context.self.boot, id: this.#mendId };
    context.send(this.leader.node, { kind: "mend", ...head, ...damaged });
  }

  #due(): boolean {
    return this.#context.now - this.#fetchedAt >= FETCH_PATIENCE_MS;
  }

  /** Says where the log stands; the newest such question is the one that holds. */
  fetch(): void {
    const context = this.#context;
    const { leader, epoch } = this;
    if (!leader || leader.node === context.self.node || !context.mayFollow(epoch)) return;
    if (context.reshaping || context.quarantined) return;
    const { log } = context;
    this.#fetchId = context.nextId();
    this.#fetchedAt = context.now;
    context.send(leader.node, {
      kind: "fetch",
      epoch,
      member: context.self,
      id: this.#fetchId,
      from: log.end,
      lastEpoch: log.epochs.last,
      lastCrc: log.lastCrc,
      durableEnd: context.plants.ackBeforeSync ? log.end : log.durableEnd,
      whole: context.damaged.length === 0,
      leaving: context.draining,
    });
  }

  onEntries(entries: Entries): void {
    if (!this.#holds(entries)) return;
    const context = this.#context;
    const { log } = context;
    this.heardAt = context.now;
    if (entries.from !== log.end) return; // came twice, or late: those bytes are there
    if (entries.prevCrc !== log.lastCrc) {
      if (entries.id !== this.#fetchId) return;
      return context.quarantine(`the leader's frame before ${log.end} is another`);
    }
    this.#matched = true;
    if (entries.to > entries.from) this.#append(entries);
    if (log.confirm(entries.confirmOffset)) {
      context.emit({ kind: "confirm", confirmOffset: log.confirmOffset });
    }
    if (entries.to > entries.from || entries.id === this.#fetchId) this.fetch();
  }

  #append(entries: Entries): void {
    const { log } = this.#context;
    assert(entries.frameEpoch <= entries.epoch, "a leader has no frame of a later epoch");
    log.epochs.add(entries.frameEpoch, entries.from);
    log.append(entries.to, entries.lastCrc);
    this.#context.emit({ kind: "append", entries });
  }

  onDiverged({ proof, ...head }: Diverged): void {
    const context = this.#context;
    if (context.reshaping || context.quarantined) return;
    const late = !this.#holds(head) || head.id !== this.#fetchId;
    if (late && !context.plants.trustLateAnswers) return;
    this.heardAt = context.now;
    const { log } = context;
    const to = cutFor(proof, log);
    if (to < log.confirmOffset && !this.#lossAccepted()) {
      return context.quarantine(`asked to cut at ${to}, confirmed is ${log.confirmOffset}`);
    }
    if (to < log.start) return this.#takeSnapshot(head);
    this.#cut(to, proof);
  }

  /** An operator began an epoch without what this log holds. */
  #lossAccepted(): boolean {
    const { sighting, log } = this.#context;
    return sighting.state?.unclean.some((epoch) => epoch > log.epochs.last) ?? false;
  }

  #cut(to: number, proof: EpochEnd): void {
    const context = this.#context;
    context.reshaping = true;
    context.emit({ kind: "truncate", to, proof, epoch: this.epoch });
  }

  onBehind(behind: Behind): void {
    const { log } = this.#context;
    const last = behind.id === this.#fetchId || behind.id === this.#mendId;
    if (!this.#holds(behind) || !last) return;
    this.heardAt = this.#context.now;
    // What is to be mended was matched with the leader's log; what is behind it was not.
    const matched = behind.id === this.#mendId;
    if (matched || behind.start >= log.confirmOffset) return this.#takeSnapshot(behind);
    this.#context.quarantine(`not in a log that begins at ${behind.start}`);
  }

  #takeSnapshot({ epoch }: AnswerHead): void {
    const { leader } = this;
    if (!leader) return;
    this.#context.reshaping = true;
    this.#context.emit({ kind: "snapshot", from: leader.node, epoch });
  }

  onMended(mended: Mended): void {
    const context = this.#context;
    const { from, to, bytes } = mended;
    if (!this.#matched || mended.epoch !== this.epoch || mended.boot !== context.self.boot) return;
    if (context.reshaping || !context.damaged.some((one) => one.from === from && one.to === to)) {
      return;
    }
    context.emit({ kind: "rewrite", range: { from, to }, bytes });
  }

  /** Whether an answer is meant for this boot and of the epoch that is followed. */
  #holds(head: AnswerHead): boolean {
    const context = this.#context;
    if (head.epoch !== this.epoch || head.boot !== context.self.boot) return false;
    return context.mayFollow(head.epoch) && !context.reshaping && !context.quarantined;
  }
}

function sameLeader(a: Member | undefined, b: Member | undefined): boolean {
  return a === undefined ? b === undefined : sameBoot(a, b);
}
