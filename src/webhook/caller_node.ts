/**
 * Asks by webhook whether a transaction is to be committed.
 *
 *   judge the URL ─▶ wait for a turn ─▶ resolve ─▶ judge every address ─▶ ask ─▶ read
 *        │                                              │
 *        ▼                                              ▼
 *     refused                                        refused
 *
 * The URL comes from whoever may publish, so the other end is taken for hostile:
 * it learns nothing but the check, it reaches nothing on the own network
 * (`address.ts`), and it costs a bounded time, memory and number of
 * connections, for itself and for all together.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import type { Clock } from "../../storage/base/clock.ts";
import { addressFault } from "./address.ts";
import type { CheckAnswer, CheckCall, CheckCaller } from "./check.ts";
import { CheckFailure, type CheckTimeouts, Deadline } from "./deadline.ts";
import { exchange } from "./exchange_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { checkMessage, readAnswer } from "./message.ts";
import { Names, type Resolve } from "./names.ts";
import { keyOf } from "./signature.ts";
import { Turns } from "./turns.ts";
import { type CheckTarget, readCheckUrl } from "./url.ts";

export interface CheckCallerOptions {
  /** Whether the own machine and network may be asked, and in plain http. */
  readonly allowPrivate: boolean;
  readonly clock: Clock;
  readonly timeouts?: CheckTimeouts;
  /** Instead of the operating system's. */
  readonly resolve?: Resolve;
  /** Authorities to trust instead of the runtime's own, in PEM. */
  readonly authorities?: string;
}

export const CHECK_TIMEOUTS: CheckTimeouts = { connectMs: 5000, totalMs: 5000 };

/** Under way at once, to all hosts; one more fails. */
export const CALLS_MAX = 256;

/** Under way at once to one host and port; more wait, so that a slow one takes no more than this. */
export const CALLS_PER_HOST_MAX = 8;

/** Holds nothing that must be closed; a call ends with its signal. */
export function openCheckCaller(options: CheckCallerOptions): CheckCaller {
  return new HttpCheckCaller(options);
}

class HttpCheckCaller implements CheckCaller {
  readonly #options: CheckCallerOptions;
  readonly #names: Names;
  readonly #turns = new Turns(CALLS_PER_HOST_MAX);
  #calls = 0;

  constructor(options: CheckCallerOptions) {
    this.#options = options;
    this.#names = new Names(options.resolve ?? resolveBySystem);
  }

  async call(check: CheckCall, { signal }: { signal: AbortSignal }): Promise<CheckAnswer> {
    const read = readCheckUrl(check.url, this.#options);
    if (read.kind === "fault") return refused(`the URL ${read.fault}`);
    const key = check.secret === undefined ? undefined : keyOf(check.secret);
    if (check.secret !== undefined && !key) return refused("the secret cannot be read");
    if (this.#calls >= CALLS_MAX) return failed("too many check-backs at once");
    const { clock, timeouts = CHECK_TIMEOUTS } = this.#options;
    const deadline = new Deadline(signal, { clock, timeouts });
    this.#calls++;
    try {
      return await this.#inTurn(read.target, { check, key, deadline });
    } catch (error) {
      if (error instanceof CheckFailure) return failed(error.message);
      throw error;
    } finally {
      this.#calls--;
      deadline.close();
    }
  }

  async #inTurn(target: CheckTarget, call: Call): Promise<CheckAnswer> {
    const place = `${target.host} ${target.port}`;
    const release = await this.#turns.take(place, call.deadline.signal);
    try {
      return await this.#ask(target, call);
    } finally {
      release();
    }
  }

  async #ask(target: CheckTarget, { check, key, deadline }: Call): Promise<CheckAnswer> {
    const addresses = await this.#addressesOf(target, deadline);
    for (const address of addresses) {
      const fault = addressFault(address, this.#options);
      if (fault !== undefined) return refused(`the host of the URL has ${fault}`);
    }
    const message = checkMessage(check, { now: this.#options.clock.now(), key, hmac });
    const { authorities } = this.#options;
    return readAnswer(await exchange({ target, addresses, authorities }, { message, deadline }));
  }

  async #addressesOf(
    { host, hostIsAddress }: CheckTarget,
    deadline: Deadline,
  ): Promise<readonly string[]> {
    if (hostIsAddress) return [host];
    try {
      const addresses = await this.#names.addressesOf(host, deadline);
      if (addresses.length > 0) return addresses;
    } catch (error) {
      if (error instanceof CheckFailure) throw error;
    }
    throw new CheckFailure("the host of the URL cannot be resolved");
  }
}

interface Call {
  readonly check: CheckCall;
  readonly key: Uint8Array | undefined;
  readonly deadline: Deadline;
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, verbatim: true });
  return found.map(({ address }) => address);
}

function failed(reason: string): CheckAnswer {
  return { kind: "failed", reason };
}

function refused(reason: string): CheckAnswer {
  return { kind: "refused", reason };
}
