/**
 * The pace of a simulation: calls of the disk wait here, and the world lets one
 * go on at a time, by chance, and everything that follows from it come to rest
 * before the next.
 *
 * Runtimes differ in how many turns of the microtask queue an answer takes. So
 * nothing here counts turns: a step ends when the event loop has nothing left to
 * do, and who goes next is drawn from the names of those who wait, in order of
 * name. What must be noted in one step is noted in an order of the world's own
 * (`Answers`), for several may be answered in it.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type { Prng } from "../../storage/base/prng.ts";

/** Resolves when everything that can run without the disk or the clock has run. */
export function rest(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

export class Pacer {
  readonly #prng: Prng;
  #waiting: { readonly call: string; readonly goOn: () => void }[] = [];

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  /** For the disk. */
  readonly wait = (call: string): Promise<void> =>
    new Promise((goOn) => void this.#waiting.push({ call, goOn }));

  /** Lets one of those who wait go on; false when nobody does. */
  async step(): Promise<boolean> {
    await rest();
    if (this.#waiting.length === 0) return false;
    const calls = [...new Set(this.#waiting.map(({ call }) => call))].toSorted();
    const chosen = this.#prng.pick(calls);
    const index = this.#waiting.findIndex(({ call }) => call === chosen);
    const [next] = this.#waiting.splice(index, 1);
    next?.goOn();
    await rest();
    return true;
  }

  async steps(count: number): Promise<void> {
    await rest();
    for (let left = count; left > 0 && (await this.step()); left--);
  }

  /** Until nobody waits for the disk any more. */
  async settle(): Promise<void> {
    while (await this.step());
  }

  /** Lets go on whoever must, until the call is answered. */
  async until<T>(call: Promise<T>): Promise<T> {
    let settled = false;
    const note = () => {
      settled = true;
    };
    call.then(note, note);
    await rest();
    while (!settled) {
      if (!(await this.step()) && !settled) throw new Error("Stuck: nobody waits for the disk");
    }
    return call;
  }

  /** Those who wait belonged to a process that is no more. */
  forget(): void {
    this.#waiting = [];
  }
}
