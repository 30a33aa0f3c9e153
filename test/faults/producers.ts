/**
 * Clients that publish, singly and in batches. Each sends one request after
 * another and owns its keys, so the order of a key's messages is the order in
 * which they were sent; and each message goes out once, never again.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import type { Prng } from "../../storage/base/prng.ts";
import { type Connection, type HttpAnswer, type HttpRequest, json } from "../e2e/http.ts";
import { post, type WireProblem, type WirePublished } from "../e2e/wire.ts";
import type { Publish } from "./history.ts";
import type { Recorder } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

/** No answer for this long from a server that is up is a complaint. */
const ANSWER_MS_MAX = 15_000;

/** Publishers rest while the consumers are this far behind, so that the end is near. */
const BACKLOG_MAX = 20_000;

const BATCH_MAX = 100;

export interface ProducerOptions {
  readonly name: string;
  readonly topic: string;
  readonly batches: boolean;
  readonly prng: Prng;
  readonly recorder: Recorder;
}

interface Draft {
  readonly publish: Publish;
  readonly contentType: string;
  readonly body: string;
}

const CONTENT_TYPES = ["text/plain", "application/octet-stream", "application/json"] as const;

export class Producer {
  readonly #options: ProducerOptions;
  readonly #keySeqs = new Map<string, number>();
  #count = 0;

  constructor(options: ProducerOptions) {
    this.#options = options;
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
    const { publish, contentType, body } = this.#draft();
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
    else recorder.refused(publish, problemOf(answer));
  }

  async #sendBatch(connection: Connection): Promise<void> {
    const { topic, prng, recorder, name } = this.#options;
    const atomic = prng.chance(30);
    const unit = atomic ? `${name}-unit-${this.#count}` : undefined;
    const drafts = Array.from({ length: 1 + prng.below(BATCH_MAX) }, () => this.#draft(unit));
    const path = `/v1/topics/${topic}/messages/batch${atomic ? "?atomic=true" : ""}`;
    const answer = await connection.request(batchRequest(path, drafts));
    if (answer.status !== 200 && answer.status !== 201) {
      for (const { publish } of drafts) recorder.refused(publish, problemOf(answer));
      return;
    }
    const { results } = json(answer) as { results: (WirePublished | { problem: WireProblem })[] };
    for (const [index, { publish }] of drafts.entries()) {
      const result = results[index];
      if (!result) recorder.complain(`a batch of ${drafts.length} got ${results.length} results`);
      else if ("problem" in result) recorder.refused(publish, result.problem);
      else recorder.published(publish, result);
    }
  }

  #draft(unit?: string): Draft {
    const { name, prng, recorder } = this.#options;
    const id = `${name}-${this.#count++}`;
    const key = prng.chance(75) ? `${name}-key-${prng.below(3)}` : undefined;
    const keySeq = this.#keySeqs.get(key ?? "") ?? 0;
    this.#keySeqs.set(key ?? "", keySeq + 1);
    const filling = prng
      .word()
      .toString(36)
      .repeat(prng.chance(2) ? 2000 : 1 + prng.below(60));
    const body = JSON.stringify({ id, filling });
    const checksum = crc32(body);
    return {
      publish: recorder.attempt({ id, checksum, key, keySeq, unit }),
      contentType: prng.pick(CONTENT_TYPES),
      body,
    };
  }
}

function batchRequest(path: string, drafts: readonly Draft[]): HttpRequest {
  const messages = drafts.map(({ publish, contentType, body }) => ({
    id: publish.id,
    ...(publish.key === undefined ? {} : { key: publish.key }),
    ...(contentType === "application/json"
      ? { data: JSON.parse(body) as unknown }
      : contentType === "text/plain"
        ? { text: body }
        : { dataBase64: Buffer.from(body).toString("base64"), contentType }),
  }));
  return post(path, { messages }, { timeoutMs: ANSWER_MS_MAX });
}

/** An answer that is no problem document says nothing about the message, and is noted as wrong. */
function problemOf(answer: HttpAnswer): WireProblem {
  const { status } = answer;
  const isProblem = answer.headers.get("content-type")?.startsWith("application/problem+json");
  if (isProblem) return json(answer) as WireProblem;
  return { code: "no-problem-document", status, retryable: false, applied: "unknown" };
}
