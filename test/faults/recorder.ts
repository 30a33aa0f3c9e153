/**
 * Writes the history while the clients of a campaign run.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { ConnectionLost, type HttpAnswer, json, text } from "../e2e/http.ts";
import type { WireDelivery, WireMessage, WireProblem, WireSettled } from "../e2e/wire.ts";
import { emptyHistory, type Publish, type Settlement, type Stored } from "./history.ts";

export class Recorder {
  readonly history = emptyHistory();
  readonly transactions = { begun: 0, checked: 0 };
  /** Hears of every message that was acknowledged. */
  onAcked: () => void = () => {};
  /** Requests answered with a reason to try again, beside those of publishers. */
  putOff = 0;
  /** Publishes that the disk had no room for. */
  forRoom = 0;
  readonly #outages: boolean;
  #step = 0;
  #acked = 0;
  #settled = 0;
  #repeated = 0;
  #doubts = 0;

  /** @param options.outages whoever answers may say for a while that nobody can. */
  constructor({ outages = false }: { readonly outages?: boolean } = {}) {
    this.#outages = outages;
  }

  /** Numbers the events of the campaign, across all clients. */
  step(): number {
    return ++this.#step;
  }

  get acked(): number {
    return this.#acked;
  }

  get settled(): number {
    return this.#settled;
  }

  /** Answered messages that were sent again, and answered the same. */
  get repeats(): number {
    return this.#repeated;
  }

  /** Publishes that were answered without saying what became of them. */
  get doubts(): number {
    return this.#doubts;
  }

  repeated(): void {
    this.#repeated++;
  }

  attempt(message: Omit<Publish, "outcome">): Publish {
    const publish: Publish = { ...message, outcome: "unknown" };
    this.history.publishes.push(publish);
    return publish;
  }

  published(publish: Publish, where: { queueId: number; queueOffset: string }): void {
    publish.outcome = "acked";
    publish.queueId = where.queueId;
    publish.queueOffset = Number(where.queueOffset);
    this.#acked++;
    this.onAcked();
  }

  /** It will be there when it is due. */
  scheduled(publish: Publish): void {
    publish.outcome = "acked";
    this.#acked++;
    this.onAcked();
  }

  /** The decision of its transaction was answered; where it lies nobody said. */
  decided(publish: Publish, decision: "commit" | "rollback"): void {
    publish.outcome = decision === "commit" ? "acked" : "refused";
    if (decision === "commit") this.#acked++;
  }

  /** A begin was answered. */
  begun(): void {
    this.transactions.begun++;
  }

  /** A check was received. */
  checked(): void {
    this.transactions.checked++;
  }

  refused(publish: Publish, problem: WireProblem): void {
    if (problem.code === "disk-full") this.forRoom++;
    publish.outcome = problem.applied === false ? "refused" : "unknown";
    if (publish.outcome === "unknown") this.#doubts++;
    // At capacity is an answer; anything else says the request was wrong, and it was not.
    if (!problem.retryable) this.complain(`a good publish got ${JSON.stringify(problem)}`);
  }

  delivered(messages: readonly WireDelivery[], askedStep: number): void {
    const [step, atMs] = [this.step(), Date.now()];
    for (const message of messages) {
      this.history.deliveries.push({
        id: message.id,
        attempt: message.attempt,
        receipt: message.receipt,
        askedStep,
        step,
        atMs,
        leaseUntilMs: Date.parse(message.leaseUntil),
      });
    }
  }

  /** Notes what was asked before it is sent: without an answer it may still count. */
  settling(action: Settlement["action"], receipts: readonly string[]): Settlement[] {
    const askedStep = this.step();
    const asked = receipts.map((receipt): Settlement => ({ receipt, action, askedStep }));
    for (const one of asked) this.history.settlements.push(one);
    return asked;
  }

  answered(asked: readonly Settlement[], results: WireSettled["results"]): void {
    const step = this.step();
    for (const [index, one] of asked.entries()) {
      const result = results[index];
      if (result?.receipt !== one.receipt || result.status === "invalid") {
        this.complain(`settling ${one.receipt} got ${JSON.stringify(result)}`);
        continue;
      }
      const leaseUntil =
        result.leaseUntil === undefined ? {} : { leaseUntilMs: Date.parse(result.leaseUntil) };
      Object.assign(one, { step, status: result.status, ...leaseUntil });
      if (one.action === "ack" && result.status !== "lost") this.#settled++;
    }
  }

  /** An answer that does not say what was asked for: a complaint, unless there may be outages. */
  notNow(what: string, answer: HttpAnswer): void {
    const problem = this.#outages ? problemOf(answer) : undefined;
    if (problem?.retryable) this.putOff++;
    else this.complain(`${what} got ${answer.status} ${text(answer)}`);
  }

  complain(what: string): void {
    this.history.complaints.push(what);
  }

  /** A lost connection is what kills are for; everything else is somebody's mistake. */
  lost(error: unknown): void {
    if (!(error instanceof ConnectionLost)) throw error;
    if (error.timedOut) this.complain(error.message);
  }
}

/** An answer that is no problem document says nothing about the message, and is noted as wrong. */
export function problemOf(answer: HttpAnswer): WireProblem {
  const { status } = answer;
  const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
  if (isProblem) return json(answer) as WireProblem;
  return { code: "no-problem-document", status, retryable: false, applied: "unknown" };
}

/** A message as read, as the checker wants it. */
export function storedFrom(message: WireMessage): Stored {
  return {
    id: message.id,
    checksum: crc32(bodyOf(message)),
    key: message.key,
    queueId: message.queueId,
    queueOffset: Number(message.queueOffset),
  };
}

function bodyOf(message: WireMessage): Uint8Array {
  if (message.dataBase64 !== undefined) return Buffer.from(message.dataBase64, "base64");
  return Buffer.from(message.text ?? JSON.stringify(message.data));
}
