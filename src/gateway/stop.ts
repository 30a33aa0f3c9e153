/**
 * The signal that ends a wait of the gateway's own making: an `AbortController` is
 * three objects of the runtime, and one of its errors with a stack for each abort.
 * There are thousands of these, so it has room for one listener, and one is what the
 * broker's waits need.
 *
 * @module
 */

import type { StopListener, StopSignal } from "../broker/api.ts";

export class Stop implements StopSignal {
  aborted = false;
  #listener: StopListener | undefined = undefined;

  addEventListener(_type: "abort", listener: StopListener): void {
    if (this.#listener) throw new Error("Cannot listen for the end of a wait: somebody does");
    this.#listener = listener;
  }

  removeEventListener(_type: "abort", listener: StopListener): void {
    if (this.#listener === listener) this.#listener = undefined;
  }

  abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    const listener = this.#listener;
    this.#listener = undefined;
    if (typeof listener === "function") listener();
    else listener?.handleEvent();
  }
}
