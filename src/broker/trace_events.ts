/**
 * What a record of the log says about one message, as events for people.
 *
 * @module
 */

import { type Frame, KINDS, type RecordOf } from "../../storage/mod.ts";
import type { TraceEvent } from "./api.ts";

/** The message that is traced. */
export interface Traced {
  readonly topicGen: number;
  readonly queueId: number;
  readonly bodyLogOffset: number;
  readonly deliverAt: number | undefined;
  readonly txnId: string | undefined;
  /** Undefined while it is not visible. */
  readonly queueOffset: number | undefined;
}

/** An event without its time; of a group by its generation. */
export type Told = Omit<TraceEvent, "at" | "group"> & { readonly groupGen?: number | undefined };

const NOTHING: readonly Told[] = [];

/** In order; empty where the record is about others, or is damaged. */
export function eventsIn({ kind, payload, logOffset }: Frame, traced: Traced): readonly Told[] {
  if (logOffset === traced.bodyLogOffset) {
    // The copy of one that was visible says nothing of when it was published.
    return kind === KINDS.message.id || traced.queueOffset === undefined ? born(traced) : NOTHING;
  }
  if (kind === KINDS.reveal.id) return revealed(KINDS.reveal.decode(payload), traced);
  if (kind === KINDS.recall.id) return recalled(KINDS.recall.decode(payload), traced);
  if (kind === KINDS.prepare.id) return prepared(KINDS.prepare.decode(payload), traced);
  if (kind === KINDS.check.id) return checked(KINDS.check.decode(payload), traced);
  if (kind === KINDS.decide.id) return decided(KINDS.decide.decode(payload), traced);
  if (kind === KINDS.grant.id) return granted(KINDS.grant.decode(payload), traced);
  if (kind === KINDS.settle.id) return settled(KINDS.settle.decode(payload), traced);
  if (kind === KINDS.dead.id) return dead(KINDS.dead.decode(payload), traced);
  if (kind === KINDS.redrive.id) return redriven(KINDS.redrive.decode(payload), traced);
  if (kind === KINDS.seek.id) return sought(KINDS.seek.decode(payload), traced);
  return NOTHING;
}

/** Its own record; that of a half message is told by its transaction's. */
function born({ deliverAt, txnId, queueOffset }: Traced): readonly Told[] {
  if (txnId !== undefined) return NOTHING;
  if (deliverAt === undefined) return [{ event: "published", queueOffset }];
  return [{ event: "scheduled", deliverAt }];
}

function revealed(
  record: RecordOf<"reveal"> | undefined,
  { bodyLogOffset }: Traced,
): readonly Told[] {
  const item = record?.items.find((one) => one.bodyLogOffset === bodyLogOffset);
  return item ? [{ event: "revealed", queueOffset: item.queueOffset }] : NOTHING;
}

function recalled(record: RecordOf<"recall"> | undefined, traced: Traced): readonly Told[] {
  return record?.bodyLogOffset === traced.bodyLogOffset ? [{ event: "recalled" }] : NOTHING;
}

function prepared(record: RecordOf<"prepare"> | undefined, { txnId }: Traced): readonly Told[] {
  if (!record || record.txnId !== txnId) return NOTHING;
  const { producerGroup } = record;
  return [{ event: "prepared", transactionId: txnId, producerGroup }];
}

function checked(record: RecordOf<"check"> | undefined, { txnId }: Traced): readonly Told[] {
  if (!record || record.txnId !== txnId) return NOTHING;
  const { checkNumber, outcome } = record;
  return [{ event: outcome === "sent" ? "checked" : "parked", transactionId: txnId, checkNumber }];
}

function decided(record: RecordOf<"decide"> | undefined, { txnId }: Traced): readonly Told[] {
  if (!record || record.txnId !== txnId) return NOTHING;
  const { decision, by } = record;
  return [{ event: decision === "commit" ? "committed" : "rolledBack", transactionId: txnId, by }];
}

interface OfQueue {
  readonly topicGen: number;
  readonly queueId: number;
}

function isOfQueue(record: OfQueue, { topicGen, queueId }: Traced): boolean {
  return record.topicGen === topicGen && record.queueId === queueId;
}

function holds(
  ranges: readonly { readonly first: number; readonly count: number }[],
  { queueOffset = -1 }: Traced,
): boolean {
  return ranges.some(({ first, count }) => first <= queueOffset && queueOffset < first + count);
}

function granted(record: RecordOf<"grant"> | undefined, traced: Traced): readonly Told[] {
  if (!record || !isOfQueue(record, traced) || !holds(record.ranges, traced)) return NOTHING;
  const { groupGen, attempt, until: leaseUntil, consumerId } = record;
  return [{ event: "delivered", groupGen, attempt, leaseUntil, consumerId }];
}

function settled(record: RecordOf<"settle"> | undefined, traced: Traced): readonly Told[] {
  if (!record || !isOfQueue(record, traced)) return NOTHING;
  const { groupGen, acked, timed } = record;
  const told: Told[] = holds(acked, traced) ? [{ event: "acked", groupGen }] : [];
  for (const { op, queueOffset, at } of timed) {
    if (queueOffset !== traced.queueOffset) continue;
    if (op === "extend") told.push({ event: "extended", groupGen, leaseUntil: at });
    else if (op === "release") told.push({ event: "released", groupGen, readyAt: at });
    else told.push({ event: "returned", groupGen, readyAt: at });
  }
  return told;
}

function dead(record: RecordOf<"dead"> | undefined, traced: Traced): readonly Told[] {
  if (!record || !isOfQueue(record, traced)) return NOTHING;
  const { groupGen } = record;
  return record.items
    .filter(({ queueOffset }) => queueOffset === traced.queueOffset)
    .map(({ attempts, cause, reason }) => ({
      event: "deadLettered",
      groupGen,
      cause,
      attempts,
      ...(reason !== "" && { reason }),
    }));
}

function redriven(record: RecordOf<"redrive"> | undefined, traced: Traced): readonly Told[] {
  if (!record || !isOfQueue(record, traced)) return NOTHING;
  const { groupGen, action, offsets } = record;
  if (traced.queueOffset === undefined || !offsets.includes(traced.queueOffset)) return NOTHING;
  return [{ event: action === "ready" ? "redriven" : "dropped", groupGen }];
}

function sought(record: RecordOf<"seek"> | undefined, traced: Traced): readonly Told[] {
  if (!record || !isOfQueue(record, traced) || traced.queueOffset === undefined) return NOTHING;
  return [{ event: "sought", groupGen: record.groupGen, position: record.to }];
}
