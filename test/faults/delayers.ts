/**
 * Clients that publish for later. Where a delayed message will lie nobody says when
 * it is published; that it is there in the end, once, and not before its time, the
 * checker sees.
 *
 * @module
 */

import type { Prng } from "../../storage/base/prng.ts";
import type { Connection } from "../e2e/http.ts";
import { ANSWER_MS_MAX, Drafts } from "./drafts.ts";
import { problemOf, type Recorder } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

const DELAY_MS_MAX = 4000;
const EVERY_MS = 20;

export interface DelayerOptions {
  readonly name: string;
  readonly topic: string;
  readonly prng: Prng;
  readonly recorder: Recorder;
}

export class Delayer {
  readonly #options: DelayerOptions;
  readonly #drafts: Drafts;

  constructor(options: DelayerOptions) {
    this.#options = options;
    // Of a key, those that wait longer come later, whoever was sent first.
    this.#drafts = new Drafts({ ...options, keyless: true });
  }

  /** Publishes until the signal aborts. */
  async run(target: Target, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const connection = await target.connect();
      if (!connection) return;
      try {
        while (!signal.aborted) {
          await this.#send(connection);
          await pause(EVERY_MS);
        }
      } catch (error) {
        this.#options.recorder.lost(error);
      } finally {
        connection.close();
      }
    }
  }

  async #send(connection: Connection): Promise<void> {
    const { topic, prng, recorder } = this.#options;
    const { publish, contentType, body } = this.#drafts.next();
    const delayMs = 1 + prng.below(DELAY_MS_MAX);
    publish.dueAtMs = Date.now() + delayMs;
    const answer = await connection.request({
      method: "POST",
      path: `/v1/topics/${topic}/messages`,
      headers: {
        "Content-Type": contentType,
        "Message-Id": publish.id,
        Delay: String(delayMs / 1000),
      },
      body,
      timeoutMs: ANSWER_MS_MAX,
    });
    if (answer.status === 201) recorder.scheduled(publish);
    else recorder.refused(publish, problemOf(answer));
  }
}
