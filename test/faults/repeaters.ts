/**
 * Clients that publish each message until they have an answer, through any
 * number of kills: with an idempotency key, alone or in batches, or with a place
 * in a producer's sequence. Whatever happened to the attempts before, the
 * message is stored once, and every later repeat says where.
 *
 * The id is the producer's own and the same in all attempts, so a message stored
 * twice is a duplicate to the checker.
 *
 * @module
 */

import type { Prng } from "../../storage/base/prng.ts";
import { type Connection, type HttpAnswer, type HttpRequest, json } from "../e2e/http.ts";
import { JSON_TYPE, post, type WireProblem, type WirePublished } from "../e2e/wire.ts";
import { ANSWER_MS_MAX, type Draft, Drafts, wireMessages } from "./drafts.ts";
import { BACKLOG_MAX } from "./producers.ts";
import { problemOf, type Recorder } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

export type RepeatBy = "key" | "batch key" | "sequence";

export interface RepeaterOptions {
  readonly name: string;
  readonly topic: string;
  readonly by: RepeatBy;
  readonly prng: Prng;
  readonly recorder: Recorder;
}

/** Sent until it is answered, and now and then again. */
interface Sent {
  readonly drafts: readonly Draft[];
  readonly request: HttpRequest;
  readonly answers: WirePublished[];
}

/** Answers a sequence is sure to remember. */
const RECENT_MAX = 4;
const BATCH_MAX = 20;

export class Repeater {
  readonly #options: RepeaterOptions;
  readonly #drafts: Drafts;
  readonly #recent: Sent[] = [];
  #pending: Sent | undefined;
  #sent = 0;
  #seq = 0;

  constructor(options: RepeaterOptions) {
    this.#options = options;
    // A sequence belongs to an ordering key; these have the one without.
    this.#drafts = new Drafts({ ...options, keyless: options.by === "sequence" });
  }

  /** Publishes until the signal aborts. */
  async run(target: Target, signal: AbortSignal): Promise<void> {
    const { recorder } = this.#options;
    while (!signal.aborted) {
      const connection = await target.connect();
      if (!connection) return;
      try {
        while (!signal.aborted) {
          await this.#send(connection);
          while (recorder.acked - recorder.settled > BACKLOG_MAX && !signal.aborted)
            await pause(20);
        }
      } catch (error) {
        recorder.lost(error);
      } finally {
        connection.close();
      }
    }
  }

  async #send(connection: Connection): Promise<void> {
    const { prng, by } = this.#options;
    if (!this.#pending && this.#recent.length > 0 && prng.chance(30)) {
      return this.#repeat(connection, prng.pick(this.#recent));
    }
    this.#pending ??= this.#next();
    const { drafts, request, answers } = this.#pending;
    const results = this.#resultsOf(await connection.request(request), this.#pending);
    if (!results) return pause(5);
    for (const [i, { publish }] of drafts.entries()) {
      const result = results[i] as WirePublished;
      this.#options.recorder.published(publish, result);
      answers.push(result);
    }
    this.#recent.push(this.#pending);
    if (this.#recent.length > (by === "sequence" ? RECENT_MAX : 50)) this.#recent.shift();
    this.#pending = undefined;
  }

  /** What was answered is answered the same for ever. */
  async #repeat(connection: Connection, sent: Sent): Promise<void> {
    const { recorder } = this.#options;
    const answer = await connection.request(sent.request);
    const results = this.#resultsOf(answer, sent);
    if (!results) return;
    const told = answer.headers.get("idempotency-replayed");
    for (const [i, result] of results.entries()) {
      const first = sent.answers[i];
      const same = (["id", "queueId", "queueOffset", "cursor"] as const).every(
        (name) => result[name] === first?.[name],
      );
      if (same && told === "true") continue;
      recorder.complain(`a repeat of ${first?.id} got ${JSON.stringify(result)}, told ${told}`);
    }
    recorder.repeated();
  }

  /** Undefined when the request has to be sent again. */
  #resultsOf(answer: HttpAnswer, { drafts }: Sent): WirePublished[] | undefined {
    const { recorder } = this.#options;
    if (answer.status === 200 || answer.status === 201) {
      const body = json(answer) as WirePublished & { results?: (WirePublished | Refusal)[] };
      const results = body.results ?? [body];
      const refusal = results.find((one): one is Refusal => "problem" in one);
      if (!refusal) return results as WirePublished[];
      return this.#again(refusal.problem);
    }
    const problem = problemOf(answer);
    if (problem.retryable) return this.#again(problem);
    for (const { publish } of drafts) recorder.refused(publish, problem);
    this.#pending = undefined;
    return undefined;
  }

  #again(problem: WireProblem): undefined {
    if (!problem.retryable) this.#options.recorder.complain(JSON.stringify(problem));
  }

  #next(): Sent {
    const { by, topic, name, prng } = this.#options;
    const key = `${name}-request-${this.#sent++}`;
    if (by !== "batch key") {
      const draft = this.#drafts.next();
      return { drafts: [draft], request: this.#single(draft, key), answers: [] };
    }
    const atomic = prng.chance(50);
    const unit = atomic ? key : undefined;
    const drafts = Array.from({ length: 1 + prng.below(BATCH_MAX) }, () => this.#drafts.next(unit));
    const path = `/v1/topics/${topic}/messages/batch${atomic ? "?atomic=true" : ""}`;
    const headers = { ...JSON_TYPE, "Idempotency-Key": key };
    const body = { messages: wireMessages(drafts) };
    const request = post(path, body, { headers, timeoutMs: ANSWER_MS_MAX });
    return { drafts, request, answers: [] };
  }

  #single({ publish, contentType, body }: Draft, key: string): HttpRequest {
    const { by, topic, name } = this.#options;
    const place = { "Producer-Id": name, "Producer-Epoch": "0" };
    return {
      method: "POST",
      path: `/v1/topics/${topic}/messages`,
      headers: {
        "Content-Type": contentType,
        "Message-Id": publish.id,
        ...(publish.key === undefined ? {} : { "Message-Key": publish.key }),
        ...(by === "sequence"
          ? { ...place, "Producer-Seq": String(this.#seq++) }
          : { "Idempotency-Key": key }),
      },
      body,
      timeoutMs: ANSWER_MS_MAX,
    };
  }
}

interface Refusal {
  readonly problem: WireProblem;
}
