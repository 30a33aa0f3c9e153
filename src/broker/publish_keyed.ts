/**
 * Publishing with idempotency keys: look, decide, store or answer again.
 *
 *   memory, at once ──none──▶ runs, by their filters ──maybe──▶ runs, with reads
 *        ▲                        │ none                            │
 *        └──── a run came in use meanwhile: look again ─────────────┤
 *                                 ▼                                 ▼
 *                       memory again, and append, in one turn of the event loop
 *
 * Mostly the filters say no, and all of it happens in the turn of the call.
 * Publishes without a key never come here.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import { decodeMessage } from "../../storage/base/message.ts";
import type { DedupeEntry } from "../../storage/mod.ts";
import type { Acks, NewMessage, Published } from "./api.ts";
import { type Dedupe, dedupeOf, firstAnswer, inProgress, partialRepeat } from "./idempotency.ts";
import {
  checkIds,
  checkMessage,
  checkType,
  checkUnit,
  messageFault,
  storeAtomically,
  storeMessage,
  topicForPublish,
} from "./publish.ts";
import { idInUse } from "./scheduled_ids.ts";
import type { Shell } from "./shell.ts";
import type { TopicState } from "./topics.ts";

/** What the runs say of each message: the first one with its key, or why that cannot be told. */
type Looked = readonly (DedupeEntry | TidegateError | undefined)[];

/** The messages of one call, looked up; valid in the turn it is handed over, and no longer. */
interface Ready {
  readonly topic: TopicState;
  readonly now: number;
  readonly dedupes: readonly (Dedupe | undefined)[];
  readonly looked: Looked;
}

interface Call {
  readonly name: string;
  readonly messages: readonly NewMessage[];
  /** Ids of scheduled messages; those that this call schedules are added. */
  readonly taken: Set<string>;
}

export async function publishKeyed(
  shell: Shell,
  call: {
    readonly name: string;
    readonly message: NewMessage;
    readonly taken: ReadonlySet<string>;
  },
): Promise<Published> {
  const { name, message } = call;
  const taken = new Set(call.taken);
  try {
    checkMessage(shell.core, { message, now: shell.leaderTime() });
    return await whenLookedUp(shell, { name, messages: [message] }, (ready) => {
      checkType(ready.topic, message);
      return storeOrAnswer(shell, ready, { message, index: 0, taken });
    });
  } catch (error) {
    return refuse(shell, error);
  }
}

/** A result for each, in order; of an atomic batch all are stored, or all answered again. */
export async function publishBatchKeyed(
  shell: Shell,
  call: Call & { readonly atomic: boolean },
): Promise<readonly (Published | TidegateError)[]> {
  try {
    return await (call.atomic ? publishUnit(shell, call) : publishEach(shell, call));
  } catch (error) {
    return refuse(shell, error);
  }
}

async function publishEach(
  shell: Shell,
  call: Call,
): Promise<readonly (Published | TidegateError)[]> {
  const { messages, taken } = call;
  const { core } = shell;
  const judgedAt = shell.leaderTime();
  const faults = messages.map((message) => messageFault(core, { message, now: judgedAt }));
  if (faults.every((fault) => fault !== undefined) && shell.core.autoCreate) return faults;
  return whenLookedUp(shell, call, (ready) =>
    Promise.all(
      messages.map(async (message, index) => {
        try {
          checkMessage(core, { message, now: ready.now });
          checkType(ready.topic, message);
          return await storeOrAnswer(shell, ready, { message, index, taken });
        } catch (error) {
          if (error instanceof TidegateError) return error;
          throw error;
        }
      }),
    ),
  );
}

async function publishUnit(shell: Shell, call: Call): Promise<readonly Published[]> {
  const { messages, taken } = call;
  checkUnit(shell.core, { messages, now: shell.leaderTime() });
  return whenLookedUp(shell, call, (ready) => {
    for (const message of messages) checkType(ready.topic, message);
    const firsts = messages.map((_, index) => firstOf(shell, ready, index));
    const known = firsts.filter((first) => first !== undefined).length;
    if (known === 0) {
      if (hasRepeats(ready.dedupes)) throw partialRepeat();
      checkIds(messages, { taken, now: ready.now });
      const published = storeAtomically(shell.core, { ...ready, messages });
      return stored(shell, ready.topic, published);
    }
    if (known < messages.length) throw partialRepeat();
    return Promise.all(firsts.map((first, index) => answer(shell, ready, { first, index })));
  });
}

/** The same key more than once among them. */
function hasRepeats(dedupes: readonly (Dedupe | undefined)[]): boolean {
  const keys = dedupes.flatMap((dedupe) => (dedupe ? [dedupe.keyHash.join()] : []));
  return new Set(keys).size < keys.length;
}

/**
 * Looks all keys up, then runs `decide` in a turn in which what was found is
 * still the truth about the runs; memory it asks itself.
 */
async function whenLookedUp<T>(
  shell: Shell,
  call: { readonly name: string; readonly messages: readonly NewMessage[] },
  decide: (ready: Ready) => Promise<T>,
): Promise<T> {
  const { core, store } = shell;
  for (;;) {
    shell.admit();
    store.dedupe.admit();
    const now = shell.leaderTime();
    const topic = topicForPublish(core, { name: call.name, now });
    const { generation: topicGen } = topic;
    const dedupes = call.messages.map((message) => dedupeOf(shell.digest, { topicGen, message }));
    const { version } = store.dedupe;
    const looks = dedupes.map((dedupe) => {
      const ask = dedupe && store.dedupe.young(dedupe.keyHash, now) === undefined;
      return ask ? store.dedupe.older(dedupe.keyHash, now) : undefined;
    });
    if (looks.every((look) => look === undefined)) {
      return await decide({ topic, now, dedupes, looked: [] });
    }
    const looked = await Promise.all(looks.map(orError));
    const same = core.fold.topics.named(call.name) === topic && store.dedupe.version === version;
    if (same) return await decide({ topic, now: shell.leaderTime(), dedupes, looked });
  }
}

async function orError(
  look: Promise<DedupeEntry | undefined> | undefined,
): Promise<DedupeEntry | TidegateError | undefined> {
  try {
    return await look;
  } catch (error) {
    if (error instanceof TidegateError) return error;
    throw error;
  }
}

/** The first message with the key: where it lies, or what a run remembers of it. */
type First = number | DedupeEntry;

/** @throws what kept the runs from telling. */
function firstOf(shell: Shell, ready: Ready, index: number): First | undefined {
  const dedupe = ready.dedupes[index];
  if (!dedupe) return undefined;
  const young = shell.store.dedupe.young(dedupe.keyHash, ready.now);
  if (young !== undefined) return young;
  const older = ready.looked[index];
  if (older instanceof TidegateError) throw older;
  return older;
}

/** Stores now, or finds the first answer. */
function storeOrAnswer(
  shell: Shell,
  ready: Ready,
  one: { readonly message: NewMessage; readonly index: number; readonly taken: Set<string> },
): Promise<Published> {
  const { message, index, taken } = one;
  const first = firstOf(shell, ready, index);
  if (first !== undefined) return answer(shell, ready, { first, index });
  if (taken.has(message.id)) throw idInUse(message.id);
  const { topic, now, dedupes } = ready;
  const published = storeMessage(shell.core, { topic, message, now, dedupe: dedupes[index] });
  if (published.state) taken.add(published.id);
  return stored(shell, topic, published);
}

function stored<T>(shell: Shell, topic: TopicState, value: T): Promise<T> {
  shell.store.log.flush();
  shell.timers.arm();
  return shell.replies.acknowledged(topic.config.acks, value);
}

async function answer(
  shell: Shell,
  ready: Ready,
  { first, index }: { readonly first: First | undefined; readonly index: number },
): Promise<Published> {
  const { topic, dedupes } = ready;
  const { fingerprint } = dedupes[index] as Dedupe;
  const repeat = { topicGen: topic.generation, fingerprint };
  if (typeof first !== "number") return firstAnswer(first as DedupeEntry, repeat);
  if (!isAnswered(shell, topic.config.acks, first)) throw inProgress();
  return firstAnswer(await readFirst(shell, first), repeat);
}

/** Whether the record at `logOffset` is as safe as an answer under `acks` promises. */
function isAnswered({ store }: Shell, acks: Acks, logOffset: number): boolean {
  const { confirmOffset, writtenEnd } = store.log;
  const ends = { durable: confirmOffset, replicated: store.replicatedEnd, leader: writtenEnd };
  return logOffset < ends[acks];
}

async function readFirst(
  { store }: Shell,
  logOffset: number,
): Promise<Omit<DedupeEntry, "keyHash">> {
  const frame = await store.log.readAt(logOffset);
  const message = frame && decodeMessage(frame.payload);
  if (!frame || !message?.dedupe) {
    const detail = `Cannot answer the repeat: the first message's record at ${logOffset} is damaged`;
    throw new TidegateError("data-damaged", detail, { at: logOffset });
  }
  const { fingerprint } = message.dedupe;
  return { ...message, fingerprint, publishedAt: frame.storedAt };
}

/** That the first is under way rests on nothing a crash could take back; all else waits for what it rests on. */
function refuse(shell: Shell, error: unknown): Promise<never> {
  const now = error instanceof TidegateError && error.code === "idempotency-in-progress";
  return now ? Promise.reject(error) : shell.refuse(error);
}
