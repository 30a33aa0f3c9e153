/**
 * The decision what a receipt is still worth, and what follows from it.
 *
 *   where the message is          ack     release   extend   reject
 *   leased by this grant          ok      ok        ok       ok
 *   its lease has ended, nobody
 *     else has it                 late    late      late     late    (all count)
 *   given back by this grant      lost    ok        lost     lost
 *   granted again since           lost    lost      lost     lost
 *   done                          ok      lost      lost     lost
 *   a dead letter                 lost    lost      lost     ok
 *   sought elsewhere since        lost    lost      lost     lost
 *
 * A receipt of another group or of a generation that is gone is `lost`; one that
 * was never given out is `invalid`.
 *
 * @module
 */

import type { Backoff, SettleRequest, SettleResult } from "./api.ts";
import { type Core, commit } from "./core.ts";
import { bury, isHeld, type Leased } from "./grant.ts";
import type { GroupState } from "./groups.ts";
import { toRanges } from "./offsets.ts";
import type { OpenMessage, PopQueue } from "./pop_queue.ts";
import { refresh } from "./readiness.ts";
import { decodeReceipt, sameNonce } from "./receipt.ts";

type Op =
  | { readonly op: "ack" }
  | { readonly op: "release"; readonly delayMs: number | undefined }
  | { readonly op: "extend"; readonly leaseMs: number }
  | { readonly op: "reject"; readonly reason: string };

/** One receipt's standing. */
type Found =
  | { readonly kind: "answer"; readonly status: SettleResult["status"] }
  | { readonly kind: "open"; readonly message: OpenMessage };

export function settle(
  core: Core,
  wish: { readonly group: GroupState; readonly request: SettleRequest; readonly now: number },
): SettleResult[] {
  const { group, request, now } = wish;
  const batch = new Batch(core, { group, now });
  const results: SettleResult[] = [];
  const each = (receipt: string, op: Op) => results.push(batch.take(receipt, op));
  for (const receipt of request.ack) each(receipt, { op: "ack" });
  for (const { receipt, delayMs } of request.release) each(receipt, { op: "release", delayMs });
  for (const { receipt, leaseMs } of request.extend) each(receipt, { op: "extend", leaseMs });
  for (const { receipt, reason } of request.reject) {
    each(receipt, { op: "reject", reason: reason ?? "" });
  }
  batch.commit();
  return results;
}

/** Gives back leases that never reached their consumer: ready at once, the attempt does not count. */
export function undo(
  core: Core,
  { leases, now }: { readonly leases: readonly Leased[]; readonly now: number },
): void {
  for (const [queue, mine] of Map.groupBy(leases.filter(isHeld), ({ message }) => message.queue)) {
    const groupGen = queue.subscription.group.generation;
    const { topicGen, queueId } = queue;
    const timed = mine.map(({ message: { queueOffset } }) => ({
      op: "undo" as const,
      queueOffset,
      at: now,
    }));
    const record = { groupGen, topicGen, queueId, acked: [], timed };
    commit(core, { kind: "settle", record, now });
    refresh(core, queue);
  }
}

/** The lease a receipt stands for, while it is held by that very grant. */
export function findLease(
  core: Core,
  { group, receipt: text }: { readonly group: GroupState; readonly receipt: string },
): Leased | undefined {
  const receipt = decodeReceipt(text);
  if (receipt?.brokerGroup !== core.brokerGroup) return undefined;
  if (receipt.groupGen !== group.generation) return undefined;
  const message = core.fold.queueOf(receipt)?.open.get(receipt.queueOffset);
  if (message?.grant.seq !== receipt.grantSeq) return undefined;
  if (!sameNonce(message.grant.nonce, receipt.nonce)) return undefined;
  return { message, grant: message.grant };
}

/** What is to be logged about one queue. */
interface QueueBatch {
  readonly acked: number[];
  readonly timed: { op: "release" | "extend"; queueOffset: number; at: number }[];
  readonly dead: { message: OpenMessage; cause: "attempts" | "rejected"; reason: string }[];
}

/** Collects outcomes into one record per queue. */
class Batch {
  readonly #core: Core;
  readonly #group: GroupState;
  readonly #now: number;
  readonly #queues = new Map<PopQueue, QueueBatch>();
  /** Messages with an outcome in this batch: one named twice is judged by its new state. */
  readonly #touched = new Set<OpenMessage>();

  constructor(core: Core, { group, now }: { group: GroupState; now: number }) {
    this.#core = core;
    this.#group = group;
    this.#now = now;
  }

  take(receipt: string, op: Op): SettleResult {
    const found = this.#find(receipt, op);
    if (found.kind === "answer") return { receipt, status: found.status };
    const { message } = found;
    this.#touched.add(message);
    const status = message.at > this.#now ? "ok" : "late";
    const leaseUntil = this.#record(message, op);
    return leaseUntil === undefined ? { receipt, status } : { receipt, status, leaseUntil };
  }

  #find(text: string, { op }: Op): Found {
    const receipt = decodeReceipt(text);
    if (receipt?.brokerGroup !== this.#core.brokerGroup) {
      return { kind: "answer", status: "invalid" };
    }
    if (receipt.groupGen !== this.#group.generation) return { kind: "answer", status: "lost" };
    const queue = this.#core.fold.queueOf(receipt);
    if (!queue) return { kind: "answer", status: "lost" };
    const { queueOffset, grantSeq } = receipt;
    if (grantSeq > queue.grantSeq) return { kind: "answer", status: "invalid" };
    if (grantSeq <= queue.voidedSeq) return { kind: "answer", status: "lost" };
    let message = queue.open.get(queueOffset);
    if (message && this.#touched.has(message)) {
      this.commit();
      message = queue.open.get(queueOffset);
    }
    if (!message) {
      const status = settledStatus(queue, { queueOffset, grantSeq, op });
      return { kind: "answer", status };
    }
    if (grantSeq < message.grant.seq) return { kind: "answer", status: "lost" };
    const forged = grantSeq > message.grant.seq || !sameNonce(message.grant.nonce, receipt.nonce);
    if (forged) return { kind: "answer", status: "invalid" };
    if (message.released) return { kind: "answer", status: op === "release" ? "ok" : "lost" };
    return { kind: "open", message };
  }

  /** Returns the new end of the lease, for extend. */
  #record(message: OpenMessage, op: Op): number | undefined {
    const { queue, queueOffset } = message;
    const batch = this.#batchOf(queue);
    if (op.op === "ack") {
      batch.acked.push(queueOffset);
    } else if (op.op === "reject") {
      batch.dead.push({ message, cause: "rejected", reason: op.reason });
    } else if (op.op === "extend") {
      const at = this.#now + op.leaseMs;
      batch.timed.push({ op: "extend", queueOffset, at });
      return at;
    } else if (message.attempt >= this.#group.config.maxAttempts) {
      batch.dead.push({ message, cause: "attempts", reason: "" });
    } else {
      const delayMs = op.delayMs ?? backoffMs(this.#group.config.backoff, message);
      batch.timed.push({ op: "release", queueOffset, at: this.#now + delayMs });
    }
    return undefined;
  }

  #batchOf(queue: PopQueue): QueueBatch {
    let batch = this.#queues.get(queue);
    if (!batch) {
      batch = { acked: [], timed: [], dead: [] };
      this.#queues.set(queue, batch);
    }
    return batch;
  }

  commit(): void {
    const now = this.#now;
    for (const [queue, { acked, timed, dead }] of this.#queues) {
      const { topicGen, queueId } = queue;
      if (acked.length + timed.length > 0) {
        const ranges = toRanges(acked.sort((a, b) => a - b));
        const groupGen = this.#group.generation;
        const record = { groupGen, topicGen, queueId, acked: ranges, timed };
        commit(this.#core, { kind: "settle", record, now });
        refresh(this.#core, queue);
      }
      if (dead.length > 0) bury(this.#core, { group: this.#group, queue, dead, now });
    }
    this.#queues.clear();
    this.#touched.clear();
  }
}

function settledStatus(
  queue: PopQueue,
  { queueOffset, grantSeq, op }: { queueOffset: number; grantSeq: number; op: Op["op"] },
): SettleResult["status"] {
  if (!queue.isDecided(queueOffset)) return "invalid";
  const letter = queue.dead.get(queueOffset);
  if (letter && grantSeq <= letter.grantSeq) return op === "reject" ? "ok" : "lost";
  return op === "ack" ? "ok" : "lost";
}

/** Retries of messages that failed together spread over so much of their wait. */
const JITTER = 0.1;

/** What a release waits that names no delay: never less than the group's backoff, and up to a tenth more. */
export function backoffMs(
  backoff: Backoff,
  { attempt, queueOffset }: Pick<OpenMessage, "attempt" | "queueOffset">,
): number {
  const spread = ((queueOffset * 7919 + attempt * 104_729) % 1000) / 1000; // neighbours lie far apart
  return Math.round(leastMs(backoff, attempt) * (1 + JITTER * spread));
}

/** @param attempt deliveries so far. */
function leastMs(backoff: Backoff, attempt: number): number {
  if ("scheduleMs" in backoff) {
    const last = backoff.scheduleMs.length - 1;
    return backoff.scheduleMs[Math.min(attempt - 1, last)] ?? 0;
  }
  return Math.min(backoff.maxMs, backoff.initialMs * backoff.multiplier ** (attempt - 1));
}
