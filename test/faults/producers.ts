/**
 * Clients that publish, singly and in batches. Each sends one request after
 * another and owns its keys, so the order of a key's messages is the order in
 * which they were sent; and each message goes out once, never again.
 *
 * @module
 */

import type { Prng } from "../../storage/base/prng.ts";
import { type Connection, json } from "../e2e/http.ts";
import { post, type WireProblem, type WirePublished } from "../e2e/wire.ts";
import { ANSWER_MS_MAX, Drafts, wireMessages } from "./drafts.ts";
import { problemOf, type Recorder } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

/** Publishers rest while the consumers are this far behind, so that the end is near. */
export const BACKLOG_MAX = 20_000;

const BATCH_MAX = 100;
const REFUSED_MS = 10;

export interface ProducerOptions {
  readonly name: string;
  readonly topic: string;
  readonly batches: boolean;
  readonly prng: Prng;
  readonly recorder: Recorder;
}

export class Producer {
  readonly #options: ProducerOptions;
  readonly #drafts: Drafts;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#drafts = new Drafts(options);
  }

  /** Publishes until the signal aborts; the request in flight then is finished. */
  async run(target: Target, signal: AbortSignal): Promise<void> {
    const { recorder, batches } = this.#options;
    while (!signal.aborted) {
      const connection = await target.connect();
      if (!connection) return;
      try {
        while (!signal.aborted) {
          await (batches ? this.#sendBatch(connection) : this.#sendOne(connection));
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

  async #sendOne(connection: Connection): Promise<void> {
    const { topic, recorder } = this.#options;
    const { publish, contentType, body } = this.#drafts.next();
    const answer = await connection.request({
      method: "POST",
      path: `/v1/topics/${topic}/messages`,
      headers: {
        "Content-Type": contentType,
        "Message-Id": publish.id,
        ...(publish.key === undefined ? {} : { "Message-Key": publish.key }),
      },
      body,
      timeoutMs: ANSWER_MS_MAX,
    });
    if (answer.status === 201) recorder.published(publish, json(answer) as WirePublished);
    else {
      recorder.refused(publish, problemOf(answer));
      await pause(REFUSED_MS);
    }
  }

  async #sendBatch(connection: Connection): Promise<void> {
    const { topic, prng, recorder, name } = this.#options;
    const atomic = prng.chance(30);
    const unit = atomic ? `${name}-unit-${this.#drafts.count}` : undefined;
    const drafts = Array.from({ length: 1 + prng.below(BATCH_MAX) }, () => this.#drafts.next(unit));
    const path = `/v1/topics/${topic}/messages/batch${atomic ? "?atomic=true" : ""}`;
    const messages = wireMessages(drafts);
    const answer = await connection.request(post(path, { messages }, { timeoutMs: ANSWER_MS_MAX }));
    if (answer.status !== 200 && answer.status !== 201) {
      for (const { publish } of drafts) recorder.refused(publish, problemOf(answer));
      return pause(REFUSED_MS);
    }
    const { results } = json(answer) as { results: (WirePublished | { problem: WireProblem })[] };
    for (const [index, { publish }] of drafts.entries()) {
      const result = results[index];
      if (!result) recorder.complain(`a batch of ${drafts.length} got ${results.length} results`);
      else if ("problem" in result) recorder.refused(publish, result.problem);
      else recorder.published(publish, result);
    }
  }
}
