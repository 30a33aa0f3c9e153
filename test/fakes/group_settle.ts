/**
 * What a receipt is worth to the fake broker, and what settling by it does.
 *
 *   <group generation>.<topic generation>.<grant>.<log index>.<topic>
 *
 * @module
 */

import type { Backoff, SettleRequest, SettleResult } from "../../src/broker/api.ts";
import type { Member } from "./group_member.ts";
import type { Entry, Progress } from "./group_progress.ts";

export function receiptOf(generation: number, progress: Progress, entry: Entry): string {
  const { topic, life } = progress;
  return [generation, life.topic.generation, entry.grant, entry.index, topic].join(".");
}

type Op = "ack" | "release" | "extend" | "reject";

/** One result per receipt, each judged by what those before it did. */
export function settleEach(
  member: Member,
  { request, now }: { request: SettleRequest; now: number },
): SettleResult[] {
  const { maxAttempts, backoff } = member.group;
  const settle = (receipt: string, op: Op, change: (progress: Progress, entry: Entry) => void) => {
    const found = find(member, receipt);
    if (typeof found === "string") return { receipt, status: found };
    const { progress, entry } = found;
    if (entry.state !== "leased") return { receipt, status: settledStatus(entry, op) };
    const status: SettleResult["status"] = entry.until > now ? "ok" : "late";
    change(progress, entry);
    return op === "extend" ? { receipt, status, leaseUntil: entry.until } : { receipt, status };
  };
  return [
    ...request.ack.map((receipt) =>
      settle(receipt, "ack", (_, entry) => {
        entry.state = "done";
      }),
    ),
    ...request.release.map(({ receipt, delayMs }) =>
      settle(receipt, "release", (progress, entry) => {
        if (entry.attempt >= maxAttempts) {
          member.bury(progress, entry, { cause: "attempts", reason: "" });
          return;
        }
        entry.state = "waiting";
        entry.until = now + (delayMs ?? backoffMs(backoff, entry.attempt));
      }),
    ),
    ...request.extend.map(({ receipt, leaseMs }) =>
      settle(receipt, "extend", (_, entry) => {
        entry.until = now + leaseMs;
      }),
    ),
    ...request.reject.map(({ receipt, reason = "" }) =>
      settle(receipt, "reject", (progress, entry) =>
        member.bury(progress, entry, { cause: "rejected", reason }),
      ),
    ),
  ];
}

function find(
  member: Member,
  receipt: string,
): { progress: Progress; entry: Entry } | "lost" | "invalid" {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.(.+)$/.exec(receipt);
  if (match === null) return "invalid";
  const [groupGeneration, topicGeneration, grant, index] = match.slice(1, 5).map(Number);
  const progress = member.progressOf(match[5] ?? "");
  const entry = progress?.entries.get(index ?? -1);
  const known =
    groupGeneration === member.group.generation &&
    topicGeneration === progress?.life.topic.generation &&
    grant === entry?.grant;
  return known && progress && entry ? { progress, entry } : "lost";
}

/** Of a message that is not leased by this grant any more. */
function settledStatus({ state }: Entry, op: Op): SettleResult["status"] {
  const again = { waiting: "release", done: "ack", dead: "reject", leased: undefined } as const;
  return again[state] === op ? "ok" : "lost";
}

function backoffMs(backoff: Backoff, attempt: number): number {
  if ("scheduleMs" in backoff) {
    return backoff.scheduleMs[Math.min(attempt, backoff.scheduleMs.length) - 1] ?? 0;
  }
  return Math.min(backoff.maxMs, backoff.initialMs * backoff.multiplier ** (attempt - 1));
}
