/**
 * Requests that wait: how many there are, and how they are told to stop.
 *
 *   begin() ─▶ waiting ─▶ end()
 *                 │ the client goes, or drain()
 *                 └──────▶ signal aborts; the wait ends; end()
 *
 * The broker bounds the waiters of a node; the bound of a credential is here,
 * because only the gateway knows whose a request is. On Deno a request's own
 * signal also aborts after a good answer, so abort means "stop waiting" and
 * nothing else.
 *
 * @module
 */

import type { Call } from "../../routes/call.ts";
import type { Hold, Holds } from "../../routes/ports.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Stop } from "./stop.ts";

export class WaitingRequests implements Holds {
  readonly #perCredentialMax: number;
  readonly #waiting = new Set<Waiting>();
  readonly #byCredential = new Map<string, number>();
  #draining = false;

  constructor(perCredentialMax: number) {
    this.#perCredentialMax = perCredentialMax;
  }

  get size(): number {
    return this.#waiting.size;
  }

  begin(call: Call, request: Request): Hold {
    const { credential } = call;
    if (credential !== undefined) this.#count(credential);
    call.connection.holdOpen(request);
    const waiting = new Waiting(this, request.signal, credential);
    this.#waiting.add(waiting);
    if (this.#draining) waiting.signal.abort();
    return waiting;
  }

  ended(waiting: Waiting): void {
    const { credential } = waiting;
    if (!this.#waiting.delete(waiting) || credential === undefined) return;
    const left = (this.#byCredential.get(credential) ?? 1) - 1;
    if (left > 0) this.#byCredential.set(credential, left);
    else this.#byCredential.delete(credential);
  }

  /** Ends every wait, also those yet to begin: what they find then is their answer. */
  drain(): void {
    this.#draining = true;
    for (const waiting of this.#waiting) waiting.signal.abort();
  }

  #count(credential: string): void {
    const count = this.#byCredential.get(credential) ?? 0;
    if (count >= this.#perCredentialMax) {
      throw new TidegateError(
        "quota-exceeded",
        `Cannot wait: the credential already holds ${count} requests`,
        { limit: this.#perCredentialMax },
      );
    }
    this.#byCredential.set(credential, count + 1);
  }
}

/** There are thousands: it is its own abort listener and owns no closure. */
class Waiting implements Hold, EventListenerObject {
  readonly credential: string | undefined;
  readonly signal = new Stop();
  readonly #owner: WaitingRequests;
  readonly #gone: AbortSignal;

  constructor(owner: WaitingRequests, gone: AbortSignal, credential: string | undefined) {
    this.#owner = owner;
    this.#gone = gone;
    this.credential = credential;
    if (gone.aborted) this.signal.abort();
    else gone.addEventListener("abort", this);
  }

  /** The client has gone. */
  handleEvent(): void {
    this.signal.abort();
  }

  end(): void {
    this.#gone.removeEventListener("abort", this);
    this.#owner.ended(this);
  }
}
