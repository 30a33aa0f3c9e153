/**
 * The dead letters of a consumer group of the fake broker: a list over all that
 * it reads, oldest first.
 *
 * @module
 */

import type { DeadLetter, DeadLetterChoice, NewMessage } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import type { Dead, Progress } from "./group_progress.ts";

export interface Letter {
  readonly progress: Progress;
  readonly index: number;
  readonly dead: Dead;
}

export function lettersOf(all: readonly Progress[], { ids }: DeadLetterChoice = {}): Letter[] {
  const letters = all.flatMap((progress) =>
    Array.from(progress.dead, ([index, dead]) => ({ progress, index, dead })),
  );
  const chosen = letters.filter(
    ({ progress, index }) =>
      ids === undefined || ids.includes(decodeMessage(progress.stored(index).payload)?.id ?? ""),
  );
  return chosen.toSorted((a, b) => a.dead.serial - b.dead.serial);
}

/** @throws `invalid-cursor` */
export function pageOf(
  letters: readonly Letter[],
  page: { readonly limit: number; readonly maxBytes: number; readonly after?: string | undefined },
): { deadLetters: readonly DeadLetter[]; next?: string | undefined } {
  const { limit, maxBytes, after = "0" } = page;
  if (!/^\d+$/.test(after)) {
    throw new TidegateError("invalid-cursor", `Cannot list from "${after}": it is no page token`);
  }
  const rest = letters.filter(({ dead }) => dead.serial > Number(after));
  const taken: Letter[] = [];
  let bytes = 0;
  for (const letter of rest.slice(0, limit)) {
    bytes += letter.progress.stored(letter.index).payload.length;
    if (taken.length > 0 && bytes > maxBytes) break;
    taken.push(letter);
  }
  const next = taken.length < rest.length ? taken.at(-1) : undefined;
  return {
    deadLetters: taken.map(show),
    next: next === undefined ? undefined : String(next.dead.serial),
  };
}

/** Ready again, unless seeking back has made it so already. */
export function revive({ progress, index }: Letter, now: number): void {
  progress.dead.delete(index);
  const entry = progress.entries.get(index);
  if (entry?.state !== "dead" && entry?.state !== "done") return;
  Object.assign(entry, { state: "waiting", attempt: 0, until: now, grant: 0 });
}

/** What a purge leaves of it: a message that is done. */
export function forget({ progress, index }: Letter): void {
  progress.dead.delete(index);
  const entry = progress.entries.get(index);
  if (entry?.state === "dead") entry.state = "done";
}

export function copyOf({ progress, index }: Letter): NewMessage {
  const message = decodeMessage(progress.stored(index).payload);
  if (message === undefined) throw new TidegateError("data-damaged", "Cannot copy the message");
  const { id, key, tag, index: keys, properties, contentType, body } = message;
  return { id, key, tag, index: keys, properties, contentType, body };
}

function show({ progress, index, dead }: Letter): DeadLetter {
  const message = progress.stored(index);
  const { topic, queueId, queueOffset } = message;
  const { cause, reason, attempts, deadAt } = dead;
  return { topic, queueId, queueOffset, message, cause, reason, attempts, deadAt };
}
