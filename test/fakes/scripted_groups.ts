/**
 * Receives that the test answers: when, with what, and whether late.
 *
 * It keeps the contract where a stream of leases rests on it: a receive whose
 * signal aborts before it is answered is answered with nothing.
 *
 * @module
 */

import type {
  CallOptions,
  Delivery,
  GroupsApi,
  ReceiveRequest,
  SettleRequest,
  SettleResult,
  StopSignal,
} from "../../src/broker/api.ts";
import type { TidegateError } from "../../storage/base/errors.ts";
import { encodeMessage, messageSizeMax } from "../../storage/base/message.ts";

interface Receive {
  readonly request: ReceiveRequest;
  readonly signal: StopSignal | undefined;
  answer(answer: readonly Delivery[] | TidegateError): void;
}

const utf8 = new TextEncoder();

export class ScriptedGroups implements Pick<GroupsApi, "receive" | "settle"> {
  /** All that were asked for, in order. */
  readonly received: Receive[] = [];
  readonly settled: SettleRequest[] = [];
  /** What a receive that does not wait is answered with, at once. */
  held: readonly Delivery[] | TidegateError = [];
  /** What every settle fails with. */
  failing: TidegateError | undefined;
  /** An aborted receive is answered by the test, as if it were being made durable. */
  late = false;
  #open = 0;

  /** Receives under way. */
  get open(): number {
    return this.#open;
  }

  get last(): Receive {
    const last = this.received.at(-1);
    if (!last) throw new Error("Nothing was asked for");
    return last;
  }

  receive(request: ReceiveRequest, options: CallOptions = {}): Promise<readonly Delivery[]> {
    this.#open++;
    return new Promise((resolve, reject) => {
      let open = true;
      const answer: Receive["answer"] = (given) => {
        if (open) this.#open--;
        open = false;
        if (given instanceof Error) reject(given);
        else resolve(given);
      };
      const { signal } = options;
      this.received.push({ request, signal, answer });
      if (request.waitMs === 0) return answer(this.held);
      const abort = () => {
        if (!this.late) answer([]);
      };
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort);
    });
  }

  settle(_group: string, request: SettleRequest): Promise<readonly SettleResult[]> {
    if (this.failing) return Promise.reject(this.failing);
    this.settled.push(request);
    return Promise.resolve([]);
  }
}

/** A delivery whose data is `{"n":…}`, with as much padding. */
export function delivery(n: number, about: { padding?: number; damaged?: boolean } = {}): Delivery {
  const { padding = 0, damaged = false } = about;
  const body = utf8.encode(JSON.stringify({ n, pad: "x".repeat(padding) }));
  const attributes = { id: `m${n}`, contentType: "application/json" };
  const envelope = { topicGen: 1, queueId: 0, queueOffset: n, keyHash: 0, tagHash: 0, bornAt: 1 };
  const target = new Uint8Array(messageSizeMax(attributes, body.length));
  const end = encodeMessage(target, 0, { envelope, attributes, body });
  const payload = damaged ? new Uint8Array(3) : target.subarray(0, end);
  const stored = { topic: "orders", queueId: 0, queueOffset: n, cursor: `q0.${n + 1}`, payload };
  return { ...stored, publishedAt: 1, receipt: `r${n}`, attempt: 1, leaseUntil: 30_001 };
}
