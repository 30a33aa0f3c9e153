/**
 * A {@linkcode CheckCaller} that asks nobody: it answers what the test lined
 * up, in order, and remembers what it was asked.
 *
 * @module
 */

import type { CheckAnswer, CheckCall, CheckCaller, Decision } from "../../src/webhook/mod.ts";

export class FakeCheckCaller implements CheckCaller {
  /** All calls, oldest first. */
  readonly calls: CheckCall[] = [];
  /** For the next calls; when there is none left, `unknown`. */
  readonly answers: (CheckAnswer | "never")[] = [];
  /** Calls under way: those told never to answer, until they are called off. */
  open = 0;

  decide(...decisions: readonly Decision[]): this {
    for (const decision of decisions) this.answers.push({ kind: "decision", decision });
    return this;
  }

  async call(check: CheckCall, { signal }: { signal: AbortSignal }): Promise<CheckAnswer> {
    this.calls.push(check);
    const answer = this.answers.shift() ?? { kind: "decision", decision: "unknown" };
    if (answer === "never") await this.#calledOff(signal);
    if (answer === "never" || signal.aborted) return { kind: "failed", reason: "called off" };
    return answer;
  }

  async #calledOff(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.open++;
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    this.open--;
  }
}
