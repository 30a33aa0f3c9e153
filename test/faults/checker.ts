/**
 * Judges a history against what the gateway promises.
 *
 *   published   acknowledged ⇒ stored exactly once, unaltered, where the answer
 *               said; refused ⇒ not stored; unknown ⇒ at most once; an atomic
 *               batch whole or not at all; nothing nobody published
 *   ordered     queue offsets 0..n−1 without gaps; a key on one queue, in the
 *               order it was sent
 *   read        a log reader sees each message once, without gaps, and nothing
 *               that is gone later; all that was visible when it was told to stop
 *   consumed    every such message is delivered, a delayed one not before it is due;
 *               an answered ack is final; no second lease while the first one
 *               runs; attempts only grow
 *   started     every start is ready in time, every request is answered
 *
 * Pure: the same history gives the same verdict. `checker_test.ts` feeds it
 * one history per rule that breaks just that rule.
 *
 * @module
 */

import { checkConsumption } from "./check_consumption.ts";
import { type FinalState, type History, inTime, type Publish, type Stored } from "./history.ts";

export type Rule =
  | "lost"
  | "duplicate"
  | "altered"
  | "phantom"
  | "moved"
  | "refused-but-stored"
  | "torn-unit"
  | "gap"
  | "reordered"
  | "split-key"
  | "reader-gap"
  | "reader-repeat"
  | "reader-saw-other"
  | "reader-missed"
  | "early"
  | "undelivered"
  | "returned"
  | "double-lease"
  | "attempt"
  | "lag"
  | "slow-start"
  | "complaint";

export interface Violation {
  readonly rule: Rule;
  readonly detail: string;
}

export type Report = (rule: Rule, detail: string) => void;

/** A start slower than this blocks a deployment. */
export const START_MS_MAX = 10_000;

export function check(history: History, final: FinalState): Violation[] {
  const violations: Violation[] = [];
  const report: Report = (rule, detail) => violations.push({ rule, detail });
  checkQueues(final, report);
  const stored = indexById(final, report);
  checkPublishes(history.publishes, stored, report);
  checkKeys(history.publishes, final, report);
  checkReaders(history, final, report);
  checkDelays(history, report);
  checkConsumption(history, final, report);
  for (const ms of history.startsMs) {
    if (ms > START_MS_MAX) report("slow-start", `a start took ${Math.round(ms)} ms`);
  }
  for (const complaint of history.complaints) report("complaint", complaint);
  return violations;
}

const place = (one: Stored) => `${one.id} at queue ${one.queueId} offset ${one.queueOffset}`;

function checkQueues(final: FinalState, report: Report): void {
  for (const [queueId, messages] of final.queues.entries()) {
    for (const [index, message] of messages.entries()) {
      if (message.queueId === queueId && message.queueOffset === index) continue;
      report("gap", `queue ${queueId} has ${place(message)} where offset ${index} belongs`);
      break; // The rest of the queue is shifted by the same amount.
    }
  }
}

function indexById(final: FinalState, report: Report): Map<string, Stored> {
  const stored = new Map<string, Stored>();
  for (const message of final.queues.flat()) {
    const before = stored.get(message.id);
    if (before) report("duplicate", `${place(before)} and ${place(message)}`);
    else stored.set(message.id, message);
  }
  return stored;
}

function checkPublishes(
  publishes: readonly Publish[],
  stored: ReadonlyMap<string, Stored>,
  report: Report,
): void {
  const known = new Set<string>();
  const units = new Map<string, { present: number; absent: number }>();
  for (const publish of publishes) {
    known.add(publish.id);
    const message = stored.get(publish.id);
    if (publish.unit !== undefined) {
      const unit = units.get(publish.unit) ?? { present: 0, absent: 0 };
      unit[message ? "present" : "absent"]++;
      units.set(publish.unit, unit);
    }
    if (!message) {
      if (publish.outcome === "acked") report("lost", `${publish.id} was acknowledged`);
      continue;
    }
    if (publish.outcome === "refused") report("refused-but-stored", place(message));
    if (message.checksum !== publish.checksum || message.key !== publish.key) {
      report("altered", `${place(message)} is not what was published`);
    }
    const moved =
      publish.queueId !== undefined &&
      (message.queueId !== publish.queueId || message.queueOffset !== publish.queueOffset);
    if (publish.outcome === "acked" && moved) {
      const said = `queue ${publish.queueId} offset ${publish.queueOffset}`;
      report("moved", `${place(message)}, but the answer said ${said}`);
    }
  }
  for (const id of stored.keys()) {
    if (!known.has(id)) report("phantom", `nobody published ${id}`);
  }
  for (const [unit, { present, absent }] of units) {
    if (present > 0 && absent > 0) {
      report("torn-unit", `of atomic batch ${unit} ${present} are stored, ${absent} are not`);
    }
  }
}

function checkKeys(publishes: readonly Publish[], final: FinalState, report: Report): void {
  const sequence = new Map(publishes.map((publish) => [publish.id, publish.keySeq]));
  const last = new Map<string, { queueId: number; keySeq: number }>();
  for (const message of final.queues.flat()) {
    const keySeq = sequence.get(message.id);
    if (message.key === undefined || keySeq === undefined) continue;
    const before = last.get(message.key);
    if (before && before.queueId !== message.queueId) {
      report("split-key", `key ${message.key}: ${place(message)}, before on ${before.queueId}`);
    } else if (before && before.keySeq > keySeq) {
      report("reordered", `key ${message.key}: ${place(message)} lies behind a later one`);
    }
    last.set(message.key, { queueId: message.queueId, keySeq });
  }
}

/** Clock reading and rounding to whole milliseconds. */
const EARLY_MS = 5;

function checkDelays({ publishes, deliveries }: History, report: Report): void {
  const dueAt = new Map<string, number>();
  for (const { id, dueAtMs } of publishes) if (dueAtMs !== undefined) dueAt.set(id, dueAtMs);
  for (const { id, atMs } of deliveries) {
    const early = Math.round((dueAt.get(id) ?? 0) - atMs);
    if (early > EARLY_MS) report("early", `${id} was delivered ${early} ms before it was due`);
  }
}

function checkReaders(history: History, final: FinalState, report: Report): void {
  for (const { name, seen } of history.readers) {
    const next = final.queues.map(() => 0);
    for (const message of seen) {
      const expected = next[message.queueId] ?? 0;
      const actual = final.queues[message.queueId]?.[message.queueOffset];
      if (message.queueOffset > expected) {
        report("reader-gap", `${name} saw ${place(message)}, expected offset ${expected}`);
      } else if (message.queueOffset < expected) {
        report("reader-repeat", `${name} saw ${place(message)} again`);
      }
      if (actual?.id !== message.id || actual.checksum !== message.checksum) {
        report("reader-saw-other", `${name} saw ${place(message)}, now ${actual?.id ?? "nothing"}`);
      }
      next[message.queueId] = Math.max(expected, message.queueOffset + 1);
    }
    for (const [queueId, messages] of inTime(history, final).entries()) {
      const missed = messages.length - (next[queueId] ?? 0);
      if (missed > 0) report("reader-missed", `${name} missed the last ${missed} of ${queueId}`);
    }
  }
}
