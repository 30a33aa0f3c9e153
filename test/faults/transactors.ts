/**
 * Clients with transactions, through any number of kills: one kind begins and
 * decides, now and then does neither, and asks for what it decided again; the
 * other answers the checks of those that nobody decided.
 *
 * What a transaction is to come to is settled before it is begun, so that an
 * answer the kill swallowed leaves no doubt later: its messages are all there
 * once its commit was answered, and never when its rollback was.
 *
 * @module
 */

import type { Prng } from "../../storage/base/prng.ts";
import { type Connection, json } from "../e2e/http.ts";
import { post, type Sender } from "../e2e/wire.ts";
import { ANSWER_MS_MAX, type Draft, Drafts, wireMessages } from "./drafts.ts";
import { BACKLOG_MAX } from "./producers.ts";
import { problemOf, type Recorder } from "./recorder.ts";
import { pause, type Target } from "./target.ts";

export const PRODUCER_GROUP = "faults";
const CHECKS = { firstCheckMs: 1000, checkIntervalMs: 1000, maxChecks: 100 };
const MESSAGES_MAX = 8;
const RECENT_MAX = 50;

type Decision = "commit" | "rollback";

interface Plan {
  readonly drafts: readonly Draft[];
  readonly decision: Decision;
  id: string | undefined;
  decided: boolean;
}

/** All transactions of a campaign, by the id of their first message. */
export type Plans = Map<string, Plan>;

export interface TransactorOptions {
  readonly name: string;
  readonly topic: string;
  readonly prng: Prng;
  readonly recorder: Recorder;
  readonly plans: Plans;
}

/** Runs `work` over connection after connection until the signal aborts. */
async function keepOn(
  target: Target,
  signal: AbortSignal,
  { recorder, work }: { recorder: Recorder; work: (connection: Connection) => Promise<void> },
): Promise<void> {
  while (!signal.aborted) {
    const connection = await target.connect();
    if (!connection) return;
    try {
      while (!signal.aborted) await work(connection);
    } catch (error) {
      recorder.lost(error);
    } finally {
      connection.close();
    }
  }
}

/** @returns whether it is decided now; not when the server asks to be asked again. */
async function decide(connection: Sender, recorder: Recorder, plan: Plan): Promise<boolean> {
  const { id, decision, drafts } = plan;
  const path = `/v1/transactions/${id}/${decision}`;
  const answer = await connection.request(post(path, {}, { timeoutMs: ANSWER_MS_MAX }));
  if (answer.status !== 200) {
    const problem = problemOf(answer);
    if (!problem.retryable) recorder.complain(`${path} got ${JSON.stringify(problem)}`);
    return false;
  }
  if (plan.decided) return true;
  plan.decided = true;
  for (const { publish } of drafts) recorder.decided(publish, decision);
  return true;
}

export class Transactor {
  readonly #options: TransactorOptions;
  readonly #drafts: Drafts;
  readonly #recent: Plan[] = [];
  #open: Plan | undefined;

  constructor(options: TransactorOptions) {
    this.#options = options;
    // Those of a key are in the order of their commits, which two clients may send.
    this.#drafts = new Drafts({ ...options, keyless: true });
  }

  run(target: Target, signal: AbortSignal): Promise<void> {
    const { recorder } = this.#options;
    return keepOn(target, signal, {
      recorder,
      work: async (connection) => {
        if (this.#open) await this.#decideOpen(connection, this.#open);
        else await this.#begin(connection);
        if (this.#recent.length > 0 && this.#options.prng.chance(20))
          await this.#repeat(connection);
        while (recorder.acked - recorder.settled > BACKLOG_MAX && !signal.aborted) await pause(20);
      },
    });
  }

  async #begin(connection: Connection): Promise<void> {
    const { prng, recorder, plans, topic, name } = this.#options;
    const unit = `${name}-unit-${this.#drafts.count}`;
    const drafts = Array.from({ length: 1 + prng.below(MESSAGES_MAX) }, () =>
      this.#drafts.next(unit),
    );
    const decision = prng.chance(70) ? "commit" : "rollback";
    const plan: Plan = { drafts, decision, id: undefined, decided: false };
    plans.set(drafts[0]?.publish.id ?? "", plan);
    const messages = wireMessages(drafts).map((message) => ({ ...message, topic }));
    const body = { producerGroup: PRODUCER_GROUP, messages, ...CHECKS };
    const request = post("/v1/transactions", body, { timeoutMs: ANSWER_MS_MAX });
    const answer = await connection.request(request);
    if (answer.status !== 201) {
      for (const { publish } of drafts) recorder.refused(publish, problemOf(answer));
      return;
    }
    plan.id = (json(answer) as { id: string }).id;
    recorder.begun();
    if (!prng.chance(10)) this.#open = plan; // else it is left to the checks
  }

  async #decideOpen(connection: Connection, plan: Plan): Promise<void> {
    if (!(await decide(connection, this.#options.recorder, plan))) return pause(5);
    this.#open = undefined;
    this.#recent.push(plan);
    if (this.#recent.length > RECENT_MAX) this.#recent.shift();
  }

  /** The same again is answered alike; the opposite is refused, whatever happened since. */
  async #repeat(connection: Connection): Promise<void> {
    const { prng, recorder } = this.#options;
    const plan = prng.pick(this.#recent);
    await decide(connection, recorder, plan);
    const opposite = plan.decision === "commit" ? "rollback" : "commit";
    const path = `/v1/transactions/${plan.id}/${opposite}`;
    const answer = await connection.request(post(path, {}, { timeoutMs: ANSWER_MS_MAX }));
    const { code } = problemOf(answer);
    if (answer.status !== 409 || code !== "transaction-decided") {
      recorder.notNow(`${path} of what was decided otherwise`, answer);
    }
  }
}

interface WireChecks {
  readonly checks: readonly {
    readonly transactionId: string;
    readonly messages: readonly { readonly id: string }[];
  }[];
}

/** Answers the checks of transactions, as their plans say. */
export function answerChecks(
  target: Target,
  signal: AbortSignal,
  { recorder, plans }: { readonly recorder: Recorder; readonly plans: Plans },
): Promise<void> {
  const path = `/v1/producers/${PRODUCER_GROUP}/checks`;
  return keepOn(target, signal, {
    recorder,
    work: async (connection) => {
      const answer = await connection.request(post(path, { max: 100, waitMs: 500 }));
      if (answer.status === 204) return;
      if (answer.status !== 200) {
        recorder.notNow("a wait for checks", answer);
        return pause(100);
      }
      for (const { transactionId, messages } of (json(answer) as WireChecks).checks) {
        const plan = plans.get(messages[0]?.id ?? "");
        const whole = plan?.drafts.every(({ publish }, i) => publish.id === messages[i]?.id);
        if (!plan || !whole) {
          recorder.complain(`a check of what nobody began: ${transactionId}`);
          continue;
        }
        if (plan.id !== undefined && plan.id !== transactionId) {
          recorder.complain(`${plan.id} is there as ${transactionId} as well`);
        }
        plan.id = transactionId;
        recorder.checked();
        await decide(connection, recorder, plan);
      }
    },
  });
}

/** How many transactions wait for a decision. */
export async function undecided(sender: Sender): Promise<number> {
  let count = 0;
  for (const state of ["prepared", "parked"]) {
    const path = `/v1/transactions?state=${state}&limit=1000`;
    const answer = await sender.request({ method: "GET", path });
    count += (json(answer) as { transactions: unknown[] }).transactions.length;
  }
  return count;
}
