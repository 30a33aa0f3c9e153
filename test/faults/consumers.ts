/**
 * Clients that receive and settle: most messages are acked, some are released
 * or extended first, some forgotten so that their lease runs out, and now and
 * then a client hangs up while it waits.
 *
 * @module
 */

import type { Prng } from "../../storage/base/prng.ts";
import { type Connection, json } from "../e2e/http.ts";
import { post, type WireDelivery, type WireSettled } from "../e2e/wire.ts";
import type { Settlement } from "./history.ts";
import type { Recorder } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

const WAIT_MS = 500;
const LEASE_MS = 1500;
const EXTENDED_MS = 3000;
const ANSWER_MS_MAX = 15_000;

export interface ConsumerOptions {
  readonly group: string;
  readonly prng: Prng;
  readonly recorder: Recorder;
}

export class Consumer {
  readonly #options: ConsumerOptions;

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  async run(target: Target, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const connection = await target.connect();
      if (!connection) return;
      try {
        while (!signal.aborted) {
          const hangUp = this.#options.prng.chance(1);
          if (hangUp) setTimeout(() => connection.close(), this.#options.prng.below(40));
          await this.#consume(connection);
        }
      } catch (error) {
        this.#options.recorder.lost(error);
      } finally {
        connection.close();
      }
    }
  }

  async #consume(connection: Connection): Promise<void> {
    const { group, recorder } = this.#options;
    const askedStep = recorder.step();
    const wish = { max: 64, waitMs: WAIT_MS, leaseMs: LEASE_MS };
    const answer = await connection.request(
      post(`/v1/groups/${group}/receive`, wish, { timeoutMs: ANSWER_MS_MAX }),
    );
    if (answer.status === 204) return;
    if (answer.status !== 200) {
      recorder.notNow("receive", answer);
      await pause(100);
      return;
    }
    const { messages } = json(answer) as { messages: WireDelivery[] };
    recorder.delivered(messages, askedStep);
    await this.#settleAll(connection, messages);
  }

  async #settleAll(connection: Connection, messages: readonly WireDelivery[]): Promise<void> {
    const { prng } = this.#options;
    const plan = Map.groupBy(messages, () => {
      const roll = prng.below(100);
      if (roll < 92) return "ack";
      if (roll < 96) return "extend";
      return roll < 99 ? "release" : "forget";
    });
    const receipts = (what: "ack" | "extend" | "release") =>
      (plan.get(what) ?? []).map((message) => message.receipt);
    await this.#settle(connection, {
      ack: receipts("ack"),
      release: receipts("release"),
      extend: receipts("extend"),
    });
    if (plan.has("extend")) await this.#settle(connection, { ack: receipts("extend") });
  }

  async #settle(
    connection: Connection,
    wish: { ack: string[]; release?: string[]; extend?: string[] },
  ): Promise<void> {
    const { group, prng, recorder } = this.#options;
    const { ack, release = [], extend = [] } = wish;
    const asked: Settlement[] = [
      ...recorder.settling("ack", ack),
      ...recorder.settling("release", release),
      ...recorder.settling("extend", extend),
    ];
    const body = {
      ack,
      release: release.map((receipt) => ({ receipt, delayMs: prng.below(200) })),
      extend: extend.map((receipt) => ({ receipt, leaseMs: EXTENDED_MS })),
    };
    const answer = await connection.request(
      post(`/v1/groups/${group}/settle`, body, { timeoutMs: ANSWER_MS_MAX }),
    );
    if (answer.status !== 200) recorder.notNow("settle", answer);
    else recorder.answered(asked, (json(answer) as WireSettled).results);
  }
}
