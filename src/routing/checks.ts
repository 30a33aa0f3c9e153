/**
 * Receiving checks of a producer group over several broker groups.
 *
 * A check that is given out counts as sent, so never more are taken than were asked for:
 * broker groups are asked in turn; where all have none, as many are waited at as there may
 * be checks, each for its part, and the others when their turn comes.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi, StopSignal, TransactionCheck } from "../broker/api.ts";
import { type Cluster, leftAlready } from "./cluster.ts";
import { keepWaiting } from "./keep_waiting.ts";
import { isAway } from "./members.ts";

/** How long some are waited at before it is the others' turn. */
const TURN_MS = 1000;

export interface ChecksWish {
  readonly producerGroup: string;
  readonly max: number;
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
}

export class CheckReceiver {
  readonly #cluster: Cluster;
  #turn = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async receive({
    signal: given,
    ...wish
  }: Omit<ChecksWish, "signal"> & { readonly signal: StopSignal | undefined }): Promise<
    readonly TransactionCheck[]
  > {
    const waits = wish.waitMs > 0 && !this.#cluster.isDraining;
    if (!waits) return await this.#receive({ ...wish, waitMs: 0, signal: leftAlready(given) });
    return await this.#cluster.waiting(given, (signal) => this.#receive({ ...wish, signal }));
  }

  async #receive(wish: ChecksWish): Promise<readonly TransactionCheck[]> {
    const { clock, members } = this.#cluster;
    const until = clock.elapsed() + wish.waitMs;
    const [only, ...others] = members.known();
    if (only !== undefined && others.length === 0) {
      return await this.#ask(only, { ...wish, deadline: members.deadline() + wish.waitMs });
    }
    const got: TransactionCheck[] = [];
    const failures = await this.#look(wish, got);
    while (got.length === 0 && clock.elapsed() < until && !wish.signal?.aborted) {
      await this.#wait({ ...wish, waitMs: until - clock.elapsed() }, got);
    }
    if (got.length === 0 && failures.length > others.length) throw failures[0];
    return got;
  }

  /** Asks each in turn. @returns why some could not be asked. */
  async #look(wish: ChecksWish, got: TransactionCheck[]): Promise<readonly TidegateError[]> {
    const failures: TidegateError[] = [];
    const deadline = this.#cluster.clock.elapsed();
    for (const group of this.#turned()) {
      if (got.length >= wish.max || wish.signal?.aborted) break;
      const max = wish.max - got.length;
      got.push(...(await this.#some(group, { ...wish, max, waitMs: 0, deadline }, failures)));
    }
    return failures;
  }

  async #wait(wish: ChecksWish, got: TransactionCheck[]): Promise<void> {
    const { clock, members } = this.#cluster;
    const found = new AbortController();
    const signal = wish.signal ? AbortSignal.any([wish.signal, found.signal]) : found.signal;
    const groups = this.#turned().slice(0, wish.max);
    const max = Math.floor(wish.max / groups.length);
    const isAll = groups.length === members.known().length;
    const until = clock.elapsed() + (isAll ? wish.waitMs : Math.min(wish.waitMs, TURN_MS));
    const isSome = (some: readonly TransactionCheck[]) => some.length > 0;
    const answers = groups.map(async (group) => {
      const ask = (waitMs: number) =>
        this.#some(group, { ...wish, max, waitMs, deadline: until, signal }, []);
      const some = await keepWaiting(members, { group, until, signal, ask, counts: isSome });
      if (isSome(some)) found.abort();
      got.push(...some);
    });
    await Promise.all(answers);
  }

  async #some(
    group: number,
    wish: ChecksWish & { readonly deadline: number },
    failures: TidegateError[],
  ): Promise<readonly TransactionCheck[]> {
    try {
      return await this.#ask(group, wish);
    } catch (error) {
      if (!(error instanceof TidegateError) || !isAway(error)) throw error;
      failures.push(error);
      return [];
    }
  }

  #ask(
    group: number,
    wish: ChecksWish & { readonly deadline: number },
  ): Promise<readonly TransactionCheck[]> {
    const { producerGroup, max, waitMs, signal, deadline } = wish;
    const ask = ({ transactions }: BrokerGroupApi) =>
      transactions.receiveChecks(producerGroup, { max, waitMs }, { signal });
    return this.#cluster.members.call({ group, ask, signal, deadline });
  }

  /** Another one first each time. */
  #turned(): readonly number[] {
    const groups = this.#cluster.members.known();
    const from = this.#turn++ % Math.max(1, groups.length);
    return [...groups.slice(from), ...groups.slice(0, from)];
  }
}
