/**
 * What the fake broker remembers of publishes that may be repeated: a Map of
 * keys and a Map of sequences, which is all there is to it where nothing has to
 * last.
 *
 * @module
 */

import type { NewMessage, Published } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";

const WINDOW_MS = 24 * 60 * 60 * 1000;
const IDLE_MS = 7 * WINDOW_MS;
const UNITS_KEPT = 5;

interface Known {
  readonly fingerprint: string;
  readonly published: Published;
}

interface Sequence {
  epoch: number;
  nextSeq: number;
  lastAt: number;
  units: { readonly firstSeq: number; readonly answers: readonly Published[] }[];
}

/** Stores the messages, as one where there are several. */
type Store = () => Published[];

export class FakeOnce {
  readonly #now: () => number;
  readonly #keys = new Map<string, Known>();
  readonly #sequences = new Map<string, Sequence>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Stores the messages unless they were published before; all of them or none. */
  publish(generation: number, messages: readonly NewMessage[], store: Store): Published[] {
    if (messages.some(({ producer }) => producer)) {
      return this.#inSequence(generation, messages, store);
    }
    const names = messages.map((message) => nameOf(generation, message));
    const known = names.map((name) => (name === undefined ? undefined : this.#known(name)));
    const count = known.filter((one) => one !== undefined).length;
    if (count > 0 && count < messages.length) throw mismatch();
    if (count > 0) {
      return known.map((one, i) => {
        if (one?.fingerprint !== fingerprintOf(messages[i] as NewMessage)) throw mismatch();
        return { ...one.published, replayed: true as const };
      });
    }
    if (new Set(names).size < names.filter((name) => name !== undefined).length) throw mismatch();
    const published = store();
    for (const [i, name] of names.entries()) {
      if (name === undefined) continue;
      const fingerprint = fingerprintOf(messages[i] as NewMessage);
      this.#keys.set(name, { fingerprint, published: published[i] as Published });
    }
    return published;
  }

  #known(name: string): Known | undefined {
    const known = this.#keys.get(name);
    return known && known.published.publishedAt > this.#now() - WINDOW_MS ? known : undefined;
  }

  #inSequence(generation: number, messages: readonly NewMessage[], store: Store): Published[] {
    const [first] = messages;
    const { id, epoch, seq } = first?.producer ?? { id: "", epoch: 0, seq: 0 };
    const follow = messages.every(({ producer, key, idempotencyKey }, i) => {
      const same = producer?.id === id && producer.epoch === epoch && producer.seq === seq + i;
      return same && key === first?.key && idempotencyKey === undefined;
    });
    if (!follow) throw new TidegateError("invalid-request", "Cannot publish: no sequence");
    const name = JSON.stringify([generation, id, first?.key]);
    const before = this.#sequences.get(name);
    const known = before && before.lastAt + IDLE_MS > this.#now() ? before : undefined;
    if (known && epoch < known.epoch) {
      throw new TidegateError("producer-fenced", "Cannot publish", { epoch: known.epoch });
    }
    const current = known?.epoch === epoch ? known : undefined;
    const expectedSeq = current?.nextSeq ?? 0;
    const end = seq + messages.length;
    if (seq !== expectedSeq) {
      const gap = () =>
        new TidegateError("producer-sequence-gap", "Cannot publish", { expectedSeq });
      if (end > expectedSeq) throw gap();
      const answers = (current?.units ?? []).flatMap((unit) =>
        unit.answers.map((answer, i) => ({ at: unit.firstSeq + i, answer })),
      );
      const mine = answers.filter(({ at }) => at >= seq && at < end);
      if (mine.length < messages.length) {
        throw new TidegateError("producer-sequence-old", "Cannot answer", { expectedSeq });
      }
      return mine.map(({ answer }) => ({ ...answer, replayed: true as const }));
    }
    const answers = store();
    const units = [...(current?.units ?? []), { firstSeq: seq, answers }].slice(-UNITS_KEPT);
    this.#sequences.set(name, { epoch, nextSeq: end, lastAt: this.#now(), units });
    return answers;
  }
}

function nameOf(generation: number, { key, idempotencyKey }: NewMessage): string | undefined {
  if (idempotencyKey === undefined) return undefined;
  return JSON.stringify([generation, key, idempotencyKey]);
}

function fingerprintOf(message: NewMessage): string {
  const { id, idGenerated, key, tag, index = [], properties = [], contentType, body } = message;
  const { deliverAt, delayMs } = message;
  const given = [idGenerated ? undefined : id, key, tag, index, contentType, deliverAt, delayMs];
  return JSON.stringify([given, properties.map(String).toSorted(), [...body]]);
}

function mismatch(): TidegateError {
  return new TidegateError("idempotency-mismatch", "Cannot publish: the key was used otherwise");
}
