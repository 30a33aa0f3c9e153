/**
 * Where the timers stood when the node stopped.
 *
 * The snapshot names the place that was passed, and every reveal behind it moves
 * that place on to the last message it revealed; when that one was due is told by
 * its own record. Should that be damaged, the one revealed before it tells, and
 * those behind it are remembered one by one.
 *
 * @module
 */

import type { CommitLog } from "./commit_log.ts";
import type { Frame } from "./frame.ts";
import { KINDS } from "./records/mod.ts";
import type { SidecarFile } from "./sidecar_file.ts";
import type { Snapshot } from "./snapshot.ts";
import { dueAtIn } from "./stored_message.ts";
import { compareKeys, type TimerKey } from "./timer_entry.ts";
import { coversBase } from "./timer_files.ts";
import type { LogRange } from "./timer_layout.ts";
import { decodeTimerMark } from "./timer_mark.ts";
import type { Timers } from "./timers.ts";

/** So many records in a row would have to be damaged before a message is revealed twice. */
const REMEMBERED = 4096;

export function timerMarkIn(snapshot: Snapshot | undefined): TimerKey | undefined {
  for (const entry of snapshot?.entries ?? []) {
    const mark = decodeTimerMark(entry);
    if (mark) return mark;
  }
  return undefined;
}

/** The sealed segments with timers yet to come that no file holds. */
export function uncovered(
  sidecars: ReadonlyMap<number, SidecarFile>,
  about: { readonly timerFiles: readonly LogRange[]; readonly passed: TimerKey },
): ReadonlySet<number> {
  const bases = new Set<number>();
  for (const [base, { timersUntil }] of sidecars) {
    const needed = timersUntil > 0 && timersUntil >= about.passed.dueAt;
    if (needed && !coversBase(about.timerFiles, base)) bases.add(base);
  }
  return bases;
}

/** What the walk at the start sees revealed. */
export class LastReveals {
  #revealed: number[] = [];

  take(frame: Frame): void {
    if (frame.kind !== KINDS.reveal.id) return;
    const reveal = KINDS.reveal.decode(frame.payload);
    if (reveal?.cause !== "due") return;
    for (const { bodyLogOffset } of reveal.items) this.#revealed.push(bodyLogOffset);
    if (this.#revealed.length > 2 * REMEMBERED) this.#revealed = this.#revealed.slice(-REMEMBERED);
  }

  /** @param from.passed according to the snapshot. */
  async resume(
    timers: Timers,
    { log, passed }: { readonly log: CommitLog; readonly passed: TimerKey },
  ): Promise<void> {
    const unread: number[] = [];
    for (const bodyLogOffset of this.#revealed.toReversed()) {
      const frame = await log.readAt(bodyLogOffset);
      const dueAt = frame && dueAtIn(frame);
      if (dueAt !== undefined) {
        const last = { dueAt, bodyLogOffset };
        return timers.resume(compareKeys(last, passed) > 0 ? last : passed, unread);
      }
      unread.push(bodyLogOffset);
    }
    timers.resume(passed, unread);
  }
}
