/**
 * Tells people of a broker group that nobody leads: an election takes a few seconds,
 * and what takes longer does not end by itself when all that count are gone.
 *
 *   led ──nobody leads for TOLD_MS──▶ told ──again every AGAIN_MS──▶ told
 *    ▲                                 │
 *    └──────── somebody leads ─────────┘ told as well
 *
 * It decides nothing.
 *
 * @module
 */

import type { Log } from "../../storage/base/logger.ts";
import type { Sighting } from "./effects.ts";
import type { GroupState, Member } from "./group_state.ts";

/** An election is over by then. */
const TOLD_MS = 5000;
const AGAIN_MS = 60_000;

export class LeaderlessWatch {
  readonly #journal: Log;
  #since: number | undefined;
  #toldAt: number | undefined;

  constructor(journal: Log) {
    this.#journal = journal;
  }

  /** Looks at what is known; to be called every second or so. */
  look(now: number, group: { readonly leaderless: boolean; readonly sighting: Sighting }): void {
    if (!group.leaderless) return this.#led();
    this.#since ??= now;
    const last = this.#toldAt ?? this.#since - AGAIN_MS + TOLD_MS;
    if (now - last < AGAIN_MS) return;
    this.#toldAt = now;
    const { state, live } = group.sighting;
    const fields = { forMs: now - this.#since, counts: names(state?.syncSet), alive: names(live) };
    const away = state ? gone(state, live) : [];
    const remedy =
      away.length === (state?.syncSet.length ?? 0)
        ? "start a member that counts; if all of them are lost for good, see tidegate elect --help"
        : "it may come yet: a member that counts is alive";
    this.#journal("error", "Nobody leads the broker group", { ...fields, remedy });
  }

  #led(): void {
    if (this.#toldAt !== undefined) this.#journal("info", "The broker group is led again");
    this.#since = undefined;
    this.#toldAt = undefined;
  }
}

/** Members that count of which not even the disk is there. */
export function gone({ syncSet }: GroupState, live: readonly Member[]): readonly Member[] {
  return syncSet.filter(
    ({ node, disk }) => !live.some((one) => one.node === node && one.disk === disk),
  );
}

function names(members: readonly Member[] = []): string {
  return members.map(({ node }) => node).join(", ") || "nobody";
}
