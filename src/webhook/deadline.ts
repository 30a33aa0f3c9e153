/**
 * When a call must be over: one limit until the connection stands, one for all
 * of it, and the caller's own signal. Whichever comes first aborts the call's
 * signal with a {@linkcode CheckFailure} that says which.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";

export interface CheckTimeouts {
  /** Milliseconds for waiting for a turn, resolving, connecting and TLS. */
  readonly connectMs: number;
  /** Milliseconds for all of it. */
  readonly totalMs: number;
}

/** A call came to nothing; the message is the reason. */
export class CheckFailure extends Error {
  override readonly name = "CheckFailure";
}

export class Deadline {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #callOff: readonly [connect: () => void, total: () => void];
  readonly #giveUp = () => this.#end("called off");

  constructor(
    signal: AbortSignal,
    { clock, timeouts }: { readonly clock: Clock; readonly timeouts: CheckTimeouts },
  ) {
    const { connectMs, totalMs } = timeouts;
    this.#outer = signal;
    this.#callOff = [
      clock.after(connectMs, () => this.#end(`no connection within ${connectMs} ms`)),
      clock.after(totalMs, () => this.#end(`no whole answer within ${totalMs} ms`)),
    ];
    signal.addEventListener("abort", this.#giveUp, { once: true });
    if (signal.aborted) this.#giveUp();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  connected(): void {
    this.#callOff[0]();
  }

  /** The call is over: nothing is left behind. */
  close(): void {
    for (const callOff of this.#callOff) callOff();
    this.#outer.removeEventListener("abort", this.#giveUp);
  }

  /** `promise`, or a {@linkcode CheckFailure} when the time is over first. */
  async race<Value>(promise: Promise<Value>): Promise<Value> {
    const { signal } = this;
    const { promise: over, reject } = Promise.withResolvers<never>();
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      return await Promise.race([promise, over]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #end(reason: string): void {
    this.#controller.abort(new CheckFailure(reason));
  }
}
