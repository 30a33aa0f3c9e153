/**
 * The part of the verdict about leases, of one consumer group that saw
 * everything. Which delivery came before which is told by the attempt; whether
 * a lease still ran, by `leaseUntil` and the clients' clock, which is the
 * server's: they share a machine.
 *
 * An ack without an answer may have counted, so it binds nobody. A release
 * that was only asked for may have ended its lease, so the next delivery may
 * come at once.
 *
 * @module
 */

import type { Report } from "./checker.ts";
import {
  type Delivery,
  type FinalState,
  type History,
  inTime,
  type Settlement,
} from "./history.ts";

/** Clock reading and rounding to whole milliseconds. */
const TOLERANCE_MS = 5;

export function checkConsumption(history: History, final: FinalState, report: Report): void {
  const settlements = Map.groupBy(history.settlements, (one) => one.receipt);
  const deliveries = Map.groupBy(history.deliveries, (one) => one.id);
  const visible = inTime(history, final).flat();
  for (const message of visible) {
    if (!deliveries.has(message.id)) {
      report("undelivered", `${message.id} never reached a consumer`);
    }
  }
  for (const [id, all] of deliveries) {
    const inOrder = all.toSorted((a, b) => a.attempt - b.attempt || a.step - b.step);
    for (const [index, delivery] of inOrder.entries()) {
      const of = settlements.get(delivery.receipt) ?? [];
      checkAck(delivery, { of, all, settlements, report });
      const following = inOrder[index + 1];
      if (following) checkSuccession(id, { delivery, following, of, report });
    }
  }
  const late = final.queues.flat().length - visible.length;
  if (final.lag > late) report("lag", `the group still owes ${final.lag - late} messages`);
}

/**
 * Nothing is delivered after its ack was answered, nor ever with a later attempt: but
 * what another has acked meanwhile is done, and everybody's ack of that is well. An ack
 * that is sent again behind a failover may come so late.
 */
function checkAck(
  delivery: Delivery,
  context: {
    readonly of: readonly Settlement[];
    readonly all: readonly Delivery[];
    readonly settlements: ReadonlyMap<string, readonly Settlement[]>;
    readonly report: Report;
  },
): void {
  const ackedBefore = (other: Delivery, step: number) =>
    (context.settlements.get(other.receipt) ?? []).some(
      (one) => one.action === "ack" && one.askedStep < step && one.status !== "lost",
    );
  for (const { action, status, step } of context.of) {
    const counts = action === "ack" && (status === "ok" || status === "late");
    if (!counts || step === undefined) continue;
    const later = context.all.filter((other) => other.attempt > delivery.attempt);
    const byAnother = status === "ok" && later.some((other) => ackedBefore(other, step));
    const back = context.all.find(
      (other) => other.askedStep > step || (!byAnother && later.includes(other)),
    );
    if (back) {
      const acked = `${delivery.id} was acked (${status}) in attempt ${delivery.attempt}`;
      context.report("returned", `${acked} and came back in attempt ${back.attempt}`);
    }
  }
}

function checkSuccession(
  id: string,
  context: {
    readonly delivery: Delivery;
    readonly following: Delivery;
    readonly of: readonly Settlement[];
    readonly report: Report;
  },
): void {
  const { delivery, following, of, report } = context;
  if (following.attempt === delivery.attempt) {
    report("attempt", `${id} was delivered twice as attempt ${delivery.attempt}`);
  }
  const released = of.some(
    (one) => one.action === "release" && one.askedStep < following.step && one.status !== "lost",
  );
  if (released) return;
  const extendedMs = of
    .filter((one) => one.action === "extend" && (one.step ?? Infinity) < following.askedStep)
    .map((one) => one.leaseUntilMs ?? 0);
  const untilMs = Math.max(delivery.leaseUntilMs, ...extendedMs);
  if (following.atMs + TOLERANCE_MS < untilMs) {
    const early = Math.round(untilMs - following.atMs);
    report("double-lease", `${id} was leased again ${early} ms before its lease ended`);
  }
}
