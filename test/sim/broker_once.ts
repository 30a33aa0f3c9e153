/**
 * What producers of the simulation want stored exactly once: messages with an
 * idempotency key, alone or in batches, and producers' sequences. Each is asked
 * for again and again, also after it was answered and across stops, always with
 * another id of its own; the oracle knows that only one may be there.
 *
 * @module
 */

import type { NewMessage } from "../../src/broker/api.ts";
import type { Prng } from "../../storage/base/prng.ts";
import { utf8 } from "../suites/broker_api_kit.ts";
import type { Oracle } from "./broker_oracle.ts";

/** What is to be stored as one, or each by itself. */
export interface Wish {
  readonly topic: string;
  readonly atomic: boolean;
  readonly parts: readonly Part[];
  /** It has been answered, or asked before a stop. */
  answered: boolean;
  askedBeforeStop: boolean;
}

interface Part {
  /** Names the message, whatever id it is published with. */
  readonly name: string;
  readonly key: string | undefined;
  readonly body: string;
  readonly more: Pick<NewMessage, "idempotencyKey" | "producer">;
}

const PRODUCERS = 2;
const WISHES_MAX = 200;

export class OnceWishes {
  readonly #prng: Prng;
  readonly #oracle: Oracle;
  readonly #topics: readonly string[];
  readonly keyed: Wish[] = [];
  /** By producer: what it sends next, until that is answered. */
  readonly #sequences: { epoch: number; seq: number; wish: Wish | undefined; busy: boolean }[];
  #count = 0;
  #attempts = 0;

  constructor(prng: Prng, world: { readonly oracle: Oracle; readonly topics: readonly string[] }) {
    this.#prng = prng;
    this.#oracle = world.oracle;
    this.#topics = world.topics;
    const idle = { epoch: 0, seq: 0, wish: undefined, busy: false };
    this.#sequences = Array.from({ length: PRODUCERS }, () => ({ ...idle }));
  }

  /** A new one, or one that was asked before. */
  pickKeyed(): Wish {
    if (this.keyed.length > 0 && (this.#prng.chance(60) || this.keyed.length >= WISHES_MAX)) {
      const recent = this.keyed.slice(-10);
      return this.#prng.pick(this.#prng.chance(70) ? recent : this.keyed);
    }
    const topic = this.#prng.pick(this.#topics);
    const name = `${topic}-once-${this.#count++}`;
    const count = this.#prng.chance(60) ? 1 : 2 + this.#prng.below(4);
    const ordered = this.#prng.chance(50);
    const parts = Array.from({ length: count }, (_, i): Part => {
      const own = count === 1 ? name : `${name}#${i}`;
      const key = ordered ? `ordered ${own}` : undefined;
      return { name: own, key, body: this.#body(own), more: { idempotencyKey: own } };
    });
    const wish = { topic, parts, atomic: count > 1 && this.#prng.chance(50) };
    this.keyed.push({ ...wish, answered: false, askedBeforeStop: false });
    return this.keyed.at(-1) as Wish;
  }

  /** What an idle producer sends next, or sends again since nobody answered; undefined when all are busy. */
  pickSequenced(): { wish: Wish; answered: () => void; notAnswered: () => void } | undefined {
    const free = this.#sequences.filter(({ busy }) => !busy);
    if (free.length === 0) return undefined;
    const sequence = this.#prng.pick(free);
    const wish = sequence.wish ?? this.#nextOf(sequence);
    sequence.wish = wish;
    sequence.busy = true;
    const answered = () => {
      Object.assign(sequence, { busy: false, wish: undefined });
      sequence.seq += wish.parts.length;
      if (this.#prng.chance(5)) Object.assign(sequence, { epoch: sequence.epoch + 1, seq: 0 });
    };
    const notAnswered = () => {
      sequence.busy = false;
    };
    return { wish, answered, notAnswered };
  }

  /** In the topic whose answers outlive power loss: else its answered places might be gone. */
  #nextOf(sequence: { readonly epoch: number; readonly seq: number }): Wish {
    const id = `producer-${this.#sequences.indexOf(sequence as never)}`;
    const count = this.#prng.chance(70) ? 1 : 2 + this.#prng.below(4);
    const parts = Array.from({ length: count }, (_, i): Part => {
      const producer = { id, epoch: sequence.epoch, seq: sequence.seq + i };
      const name = `orders-${id}-${producer.epoch}-${producer.seq}`;
      return { name, key: undefined, body: this.#body(name), more: { producer } };
    });
    return { topic: "orders", parts, atomic: true, answered: false, askedBeforeStop: false };
  }

  #body(name: string): string {
    return `${name} `.repeat(1 + this.#prng.below(this.#prng.chance(5) ? 300 : 10));
  }

  /** The messages of one more attempt; the oracle is told. */
  messages(wish: Wish): NewMessage[] {
    const batch = -1 - this.#attempts;
    return wish.parts.map(({ name, key, body, more }) => {
      const id = `${name}.${this.#attempts++}`;
      const durable = wish.topic === "orders";
      const unit = wish.atomic ? batch : -this.#attempts;
      const delayMs = undefined;
      this.#oracle.publishAsked({ id, key, body, batch: unit, delayMs, durable, once: name });
      return { id, idGenerated: true, key, body: utf8.encode(body), ...more };
    });
  }

  /** Whoever was waiting for an answer will ask again. */
  stopped(): void {
    for (const wish of this.keyed) wish.askedBeforeStop = true;
    for (const sequence of this.#sequences) {
      sequence.busy = false;
      if (sequence.wish) sequence.wish.askedBeforeStop = true;
    }
  }
}
