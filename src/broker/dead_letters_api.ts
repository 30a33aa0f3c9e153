/**
 * The dead letters of a group as people see them: list, send back, drop.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import { messageIn, type Unit } from "../../storage/mod.ts";
import type { DeadLetter, GroupsApi, NewMessage, StoredMessage } from "./api.ts";
import { messagesAt, visibleAt } from "./bodies.ts";
import {
  type DeadLetterPlace,
  lettersAfter,
  letterToken,
  parseLetterToken,
  redrive,
  trimLetters,
} from "./dead_letters.ts";
import { groupNamed, topicNamed } from "./define.ts";
import { endLeases } from "./grant.ts";
import type { GroupState } from "./groups.ts";
import type { Core } from "./core.ts";
import { checkType, storeMessage, topicForPublish } from "./publish.ts";
import type { Shell } from "./shell.ts";

type Letters = Pick<GroupsApi, "deadLetters" | "redrive" | "purgeDeadLetters">;

/** Messages copied to another topic in one turn: bodies in memory at once. */
const COPY_BATCH = 16;

export function deadLettersApi(shell: Shell): Letters {
  const { core } = shell;
  return {
    async deadLetters(name, { limit, maxBytes, after, cursors }) {
      const from = after === undefined ? undefined : parseLetterToken(after);
      if (after !== undefined && !from) {
        throw new TidegateError(
          "invalid-cursor",
          "Cannot list dead letters: this is no page token",
        );
      }
      const letters = await shell.decide((now) => {
        const group = groupNow(core, { name, now });
        trimLetters(core, { group, now });
        return lettersAfter(group, { limit: limit + 1, after: from });
      });
      const page = await showPage(shell, { letters: letters.slice(0, limit), maxBytes });
      const last = letters[page.length - 1];
      const more = page.length < letters.length && last !== undefined;
      return {
        deadLetters: page,
        ...(more && { next: letterToken(last) }),
        ...(cursors && { cursors: letters.slice(0, page.length).map(letterToken) }),
      };
    },

    async redrive(name, { ids, toTopic }) {
      const group = await shell.decide((now) => {
        if (toTopic !== undefined && !core.autoCreate) topicNamed(core, toTopic);
        return groupNow(core, { name, now });
      });
      const letters = await chosen(shell, { group, ids });
      if (toTopic !== undefined) return copyTo(shell, { name: toTopic, letters });
      return shell.decide((now) => {
        const count = redrive(core, { letters: letters.filter(isThere), action: "ready", now });
        shell.receivers.pump(group);
        return count;
      });
    },

    async purgeDeadLetters(name, { ids }) {
      const group = await shell.decide((now) => groupNow(core, { name, now }));
      const letters = await chosen(shell, { group, ids });
      return shell.decide((now) =>
        redrive(core, { letters: letters.filter(isThere), action: "drop", now }),
      );
    },
  };
}

/** What has used up its attempts by now is among its dead letters. */
function groupNow(core: Core, { name, now }: { name: string; now: number }): GroupState {
  const group = groupNamed(core, name);
  endLeases(core, { group, now });
  return group;
}

/** Whether it was neither sent back nor dropped since it was chosen. */
function isThere(letter: DeadLetterPlace): boolean {
  return letter.queue.dead.get(letter.queueOffset) === letter;
}

/** Those of messages with these ids; all when none are named. */
async function chosen(
  shell: Shell,
  { group, ids }: { group: GroupState; ids: readonly string[] | undefined },
): Promise<DeadLetterPlace[]> {
  if (ids === undefined) return [...group.deadLetters.values()];
  const letters = new Set<DeadLetterPlace>();
  for (const id of new Set(ids)) {
    for (const { base } of shell.store.log.segments) {
      for (const logOffset of await shell.store.indexes.ids.find(stableHash(id), base)) {
        const letter = await letterAt(shell, { group, id, logOffset });
        if (letter) letters.add(letter);
      }
    }
  }
  return [...letters];
}

/** The dead letter whose message is the record at `logOffset`, if it has this id. */
async function letterAt(
  shell: Shell,
  { group, id, logOffset }: { group: GroupState; id: string; logOffset: number },
): Promise<DeadLetterPlace | undefined> {
  const frame = await shell.store.log.readAt(logOffset);
  const stored = messageIn(frame);
  const message = stored && decodeMessage(stored.payload);
  if (!stored || message?.id !== id) return undefined;
  const { topicGen, queueId } = message;
  const { queueOffset } = stored;
  return shell.core.fold
    .queueOf({ groupGen: group.generation, topicGen, queueId })
    ?.dead.get(queueOffset);
}

/** Letters with their messages, up to `maxBytes` but at least one. */
async function showPage(
  shell: Shell,
  { letters, maxBytes }: { letters: readonly DeadLetterPlace[]; maxBytes: number },
): Promise<DeadLetter[]> {
  const page: DeadLetter[] = [];
  let bytes = 0;
  for (const letter of letters) {
    const unit = await unitOf(shell, letter);
    bytes += unit?.size ?? 0;
    if (bytes > maxBytes && page.length > 0) break;
    page.push(show(letter, await messageOf(shell, letter)));
  }
  return page;
}

function show(letter: DeadLetterPlace, message: StoredMessage | undefined): DeadLetter {
  const { queue, queueOffset, cause, reason, attempts, deadAt } = letter;
  const { queueId, subscription } = queue;
  const { topic } = subscription;
  return { topic, queueId, queueOffset, message, cause, reason, attempts, deadAt };
}

async function unitOf(
  shell: Shell,
  { queue, queueOffset }: DeadLetterPlace,
): Promise<Unit | undefined> {
  const [visible] = await visibleAt(shell, { queue, offsets: [queueOffset] });
  return visible?.unit;
}

/** Undefined when its bytes are damaged. */
async function messageOf(
  shell: Shell,
  { queue, queueOffset }: DeadLetterPlace,
): Promise<StoredMessage | undefined> {
  const topic = shell.core.fold.topics.of(queue.topicGen);
  if (!topic) return undefined;
  return (await messagesAt(shell, { topic, queue, offsets: [queueOffset] }))[0];
}

/**
 * All are looked at before any is copied. A copy is stored before its letter
 * goes: what is cut short leaves the letter, never nothing.
 */
async function copyTo(
  shell: Shell,
  { name, letters }: { name: string; letters: readonly DeadLetterPlace[] },
): Promise<number> {
  const known = shell.core.fold.topics.named(name);
  for await (const copies of copiesOf(shell, letters)) {
    if (known) for (const { message } of copies) checkType(known, message);
  }
  let count = 0;
  for await (const copies of copiesOf(shell, letters)) {
    shell.admit();
    count += await shell.decide((now) => {
      const topic = topicForPublish(shell.core, { name, now });
      const sent = copies.filter(({ letter }) => isThere(letter));
      for (const { message } of sent) checkType(topic, message);
      for (const { message } of sent) storeMessage(shell.core, { topic, message, now });
      const gone = sent.map(({ letter }) => letter);
      return redrive(shell.core, { letters: gone, action: "drop", now });
    });
  }
  return count;
}

interface Copy {
  readonly letter: DeadLetterPlace;
  readonly message: NewMessage;
}

async function* copiesOf(
  shell: Shell,
  letters: readonly DeadLetterPlace[],
): AsyncGenerator<Copy[]> {
  for (let from = 0; from < letters.length; from += COPY_BATCH) {
    const batch = letters.slice(from, from + COPY_BATCH);
    yield await Promise.all(batch.map((letter) => copyOf(shell, letter)));
  }
}

/** @throws `data-damaged` */
async function copyOf(shell: Shell, letter: DeadLetterPlace): Promise<Copy> {
  const stored = await messageOf(shell, letter);
  const message = stored && decodeMessage(stored.payload);
  if (message) return { letter, message };
  const { queueOffset, queue } = letter;
  const { topic } = queue.subscription;
  const detail = `Cannot copy message ${queueOffset} of queue ${queue.queueId} of "${topic}": its bytes are damaged`;
  throw new TidegateError("data-damaged", detail, {
    queueId: queue.queueId,
    queueOffset: String(queueOffset),
  });
}
