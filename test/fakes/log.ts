/**
 * One topic's log in memory, as adverse as the contract of `read` allows:
 *
 *  - no two cursors are equal, though they name the same position;
 *  - an answer is made at one moment and arrives at a later one, and the test
 *    chooses both, so what is read may be old when it arrives;
 *  - a wait may run out at any moment, and an aborted one may still answer.
 *
 * Left alone (`auto`), it answers at once, like a broker in the same process.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type {
  CallOptions,
  Filter,
  MessagesApi,
  ReadPage,
  ReadRequest,
  StopSignal,
  StoredMessage,
} from "../../src/broker/api.ts";
import { type CompiledFilter, compileFilter } from "../../src/filter/mod.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { encodeMessage, messageSizeMax } from "../../storage/base/message.ts";
import type { Prng } from "../../storage/base/prng.ts";

interface Entry {
  readonly stored: StoredMessage;
  readonly key: string | undefined;
}

interface Call {
  readonly request: ReadRequest;
  readonly signal: StopSignal | undefined;
  readonly settle: (answer: ReadPage | Error) => void;
  answer: ReadPage | Error | undefined;
}

const utf8 = new TextEncoder();

export class FakeLog implements Pick<MessagesApi, "read"> {
  readonly topic: string;
  /** Answers at once; otherwise {@linkcode step} does. */
  auto = true;
  /** What every read fails with. */
  failing: TidegateError | undefined;
  /** Every wait is over at once, as in a broker that drains. */
  hasty = false;
  /** The message whose bytes the disk does not give back. */
  damaged: number | undefined;
  reads = 0;
  waiting = 0;
  #generation = 1;
  readonly #entries: Entry[] = [];
  #first = 0;
  #salt = 0;
  #deleted = false;
  readonly #ends = new Map<number, number>();
  readonly #calls = new Set<Call>();

  constructor(topic = "orders") {
    this.topic = topic;
  }

  /** Appends one message, visible at once, whose data is `{"n":…}`: its number in the topic. */
  publish(message: { queueId?: number; key?: string; tag?: string; body?: string } = {}): number {
    const { queueId = 0, key, tag } = message;
    const n = this.#entries.length;
    const queueOffset = this.#ends.get(queueId) ?? 0;
    this.#ends.set(queueId, queueOffset + 1);
    const attributes = { id: `m${n}`, contentType: "application/json", tag };
    const body = utf8.encode(message.body ?? JSON.stringify({ n }));
    const target = new Uint8Array(messageSizeMax(attributes, body.length));
    const envelope = { topicGen: 1, queueId, queueOffset, keyHash: 0, tagHash: 0, bornAt: 1 };
    const end = encodeMessage(target, 0, { envelope, attributes, body });
    const cursor = `q${queueId}.${queueOffset + 1}`;
    const payload = target.subarray(0, end);
    const stored = { topic: this.topic, queueId, queueOffset, cursor, publishedAt: 1, payload };
    this.#entries.push({ stored, key });
    this.#pump();
    return n;
  }

  /** Retention: the messages before number `first` are gone. */
  expire(first: number): void {
    this.#first = Math.max(this.#first, first);
  }

  delete(): void {
    this.#deleted = true;
    this.#pump();
  }

  /** Deletes the topic and makes it again: offsets begin anew, the numbers go on. */
  recreate(): void {
    this.#generation++;
    this.#first = this.#entries.length;
    this.#ends.clear();
    this.#deleted = false;
    this.#pump();
  }

  get deleted(): boolean {
    return this.#deleted;
  }

  /** A cursor that stands before message number `n`. */
  cursor(n: number): string {
    return `g${this.#generation}.${n}.${this.#salt++}`;
  }

  get end(): number {
    return this.#entries.length;
  }

  read(request: ReadRequest, options: CallOptions = {}): Promise<ReadPage> {
    this.reads++;
    return new Promise((resolve, reject) => {
      const call: Call = {
        request,
        signal: options.signal,
        answer: undefined,
        settle: (answer) => {
          if (!this.#calls.delete(call)) return;
          this.waiting = this.#calls.size;
          if (answer instanceof Error) reject(answer);
          else resolve(answer);
        },
      };
      this.#calls.add(call);
      this.waiting = this.#calls.size;
      options.signal?.addEventListener("abort", () => {
        if (this.auto) call.settle(abortError());
      });
      if (options.signal?.aborted && this.auto) call.settle(abortError());
      this.#pump();
    });
  }

  /** Every wait under way runs out now. */
  endWaits(): void {
    for (const call of this.#calls) {
      const answer = this.#answer(call.request, true);
      if (answer) call.settle(answer);
    }
  }

  /** Answers whatever can be answered without waiting, until nothing asks any more. */
  async answerAll(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      for (const call of this.#calls) {
        const answer = call.signal?.aborted ? abortError() : this.#answer(call.request, false);
        if (answer) call.settle(answer);
      }
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
  }

  /** Lets one call make a step: its answer is made, or arrives, or its wait ends. */
  step(prng: Prng): void {
    const calls = [...this.#calls];
    if (calls.length === 0) return;
    const call = prng.pick(calls);
    if (call.signal?.aborted && prng.chance(50)) return call.settle(abortError());
    call.answer ??= this.#answer(call.request, prng.chance(10) || call.signal?.aborted === true);
    if (call.answer && prng.chance(60)) call.settle(call.answer);
  }

  #pump(): void {
    if (!this.auto) return;
    for (const call of this.#calls) {
      const answer = this.#answer(call.request, false);
      if (answer) call.settle(answer);
    }
  }

  /** @returns undefined while the wait goes on. */
  #answer(request: ReadRequest, waitIsOver: boolean): ReadPage | Error | undefined {
    if (this.failing) return this.failing;
    if (this.#deleted) return new TidegateError("topic-not-found", "No such topic");
    const from = this.#position(request);
    if (from instanceof Error) return from;
    const filter = compiled(request.filter);
    if (filter instanceof Error) return filter;

    const messages: StoredMessage[] = [];
    const cursors: string[] = [];
    let next = from;
    for (let bytes = 0; next < this.#entries.length; next++) {
      const { stored, key } = this.#entries[next] as Entry;
      if (request.queueId !== undefined && stored.queueId !== request.queueId) continue;
      if (request.key !== undefined && key !== request.key) continue;
      if (filter?.matchesPayload(stored.payload) === false) continue;
      if (next === this.damaged) {
        if (messages.length > 0) break;
        return new TidegateError("data-damaged", "Cannot read", { next: this.cursor(next + 1) });
      }
      bytes += stored.payload.length;
      if (messages.length === request.limit) break;
      if (messages.length > 0 && bytes > request.maxBytes) break;
      messages.push(stored);
      cursors.push(this.cursor(next + 1));
    }
    const waits = request.waitMs > 0 && !waitIsOver && !this.hasty;
    if (messages.length === 0 && waits) return undefined;
    const upToDate = next === this.#entries.length;
    const page = { messages, cursor: this.cursor(next), upToDate, generation: this.#generation };
    return request.cursors ? { ...page, cursors } : page;
  }

  #position({ start }: ReadRequest): number | Error {
    if (start.kind === "latest") return this.#entries.length;
    if (start.kind !== "cursor") return this.#first;
    const match = /^g(\d+)\.(\d+)\.\d+$/.exec(start.cursor);
    if (!match) return new TidegateError("invalid-cursor", `Cannot read "${start.cursor}"`);
    const [generation, n] = [Number(match[1]), Number(match[2])];
    const code =
      generation !== this.#generation
        ? "cursor-generation"
        : n < this.#first
          ? "cursor-expired"
          : undefined;
    if (code === undefined) return n;
    return new TidegateError(code, "Cannot go on", { earliest: this.cursor(this.#first) });
  }
}

function compiled(filter: Filter | undefined): CompiledFilter | TidegateError | undefined {
  try {
    return filter && compileFilter(filter);
  } catch (error) {
    if (error instanceof TidegateError) return error;
    throw error;
  }
}

function abortError(): Error {
  return new DOMException("The wait was aborted", "AbortError");
}

/** The number of the message that a cursor of {@linkcode FakeLog} stands before. */
export function numberAt(cursor: string): number {
  return Number(/^g\d+\.(\d+)\./.exec(cursor)?.[1]);
}

/** Several logs, each by its topic. */
export class FakeLogs implements Pick<MessagesApi, "read"> {
  readonly all: readonly FakeLog[];

  constructor(topics: readonly string[]) {
    this.all = topics.map((topic) => new FakeLog(topic));
  }

  of(topic: string): FakeLog {
    const log = this.all.find((one) => one.topic === topic);
    if (!log) throw new TypeError(`There is no log ${topic}`);
    return log;
  }

  read(request: ReadRequest, options?: CallOptions): Promise<ReadPage> {
    return this.of(request.topic).read(request, options);
  }
}
