/**
 * The dead letters of a group: pointers to messages it gave up on, oldest first.
 *
 *   dead ──redrive──▶ ready again, attempt 1   (or a copy in another topic)
 *     ├────purge────▶ gone from the list
 *     └────too old, or one too many ──▶ gone from the list
 *
 * A letter lies in its queue (`PopQueue.dead`), which settles ask, and in the
 * group's list, which people ask. The message itself stays where it is.
 *
 * @module
 */

import { type Core, commit } from "./core.ts";
import type { GroupState } from "./groups.ts";
import type { PopQueue } from "./pop_queue.ts";

export interface DeadLetterPlace {
  readonly queue: PopQueue;
  readonly queueOffset: number;
  readonly attempts: number;
  readonly cause: "attempts" | "rejected";
  readonly reason: string;
  readonly deadAt: number;
  /** The newest grant of its queue when it died: receipts of later ones are of another life. */
  readonly grantSeq: number;
  /** Where the log describes it in full; 0: nowhere that is known. */
  describedAt: number;
  /** Of the record that says so: letters are listed in its order. */
  readonly logOffset: number;
}

/** Bounds of a group's list: the oldest go first. */
const LETTERS_MAX = 100_000;
const LETTER_MS_MAX = 14 * 24 * 3_600_000;

export class DeadLetterList {
  #letters = new Set<DeadLetterPlace>();
  #last: DeadLetterPlace | undefined;
  #sorted = true;

  get size(): number {
    return this.#letters.size;
  }

  add(letter: DeadLetterPlace): void {
    if (this.#last && byAge(this.#last, letter) > 0)
      this.#sorted = false; // a snapshot has another order
    else this.#last = letter;
    this.#letters.add(letter);
  }

  delete(letter: DeadLetterPlace): void {
    this.#letters.delete(letter);
  }

  /** Oldest first. */
  values(): Iterable<DeadLetterPlace> {
    if (!this.#sorted) this.#letters = new Set([...this.#letters].sort(byAge));
    this.#sorted = true;
    return this.#letters;
  }
}

function byAge(a: DeadLetterPlace, b: DeadLetterPlace): number {
  return a.logOffset - b.logOffset || a.queueOffset - b.queueOffset;
}

/** The page token behind a letter; opaque. */
export function letterToken({ logOffset, queueOffset }: DeadLetterPlace): string {
  return `${logOffset}.${queueOffset}`;
}

/** Undefined when the text is no token. */
export function parseLetterToken(text: string) {
  const [, logOffset, queueOffset] = /^(\d{1,16})\.(\d{1,16})$/.exec(text) ?? [];
  if (logOffset === undefined || queueOffset === undefined) return undefined;
  return { logOffset: Number(logOffset), queueOffset: Number(queueOffset) };
}

/** Up to `limit` letters behind a token's place, oldest first. */
export function lettersAfter(
  group: GroupState,
  page: {
    readonly limit: number;
    readonly after: { readonly logOffset: number; readonly queueOffset: number } | undefined;
  },
): DeadLetterPlace[] {
  const { limit, after } = page;
  const found: DeadLetterPlace[] = [];
  for (const letter of group.deadLetters.values()) {
    if (found.length === limit) break;
    if (!after || byAge(letter, { ...letter, ...after }) > 0) found.push(letter);
  }
  return found;
}

/** Makes letters ready again, or drops them. @returns how many there were. */
export function redrive(
  core: Core,
  wish: {
    readonly letters: Iterable<DeadLetterPlace>;
    readonly action: "ready" | "drop";
    readonly now: number;
  },
): number {
  const { action, now } = wish;
  let count = 0;
  for (const [queue, letters] of Map.groupBy(wish.letters, (letter) => letter.queue)) {
    const offsets = letters.map(({ queueOffset }) => queueOffset);
    const { topicGen, queueId } = queue;
    const groupGen = queue.subscription.group.generation;
    const record = { groupGen, topicGen, queueId, action, offsets };
    commit(core, { kind: "redrive", record, now });
    count += letters.length;
  }
  return count;
}

/** Drops what is past the bounds of the list. */
export function trimLetters(
  core: Core,
  { group, now }: { readonly group: GroupState; readonly now: number },
): void {
  let surplus = group.deadLetters.size - LETTERS_MAX;
  const letters: DeadLetterPlace[] = [];
  for (const letter of group.deadLetters.values()) {
    if (surplus-- <= 0 && now - letter.deadAt < LETTER_MS_MAX) break;
    letters.push(letter);
  }
  if (letters.length > 0) redrive(core, { letters, action: "drop", now });
}
