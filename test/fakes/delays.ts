/**
 * The delayed messages of the fake broker: a list, looked through whenever a
 * topic is used, by its clock.
 *
 * @module
 */

import type { NewMessage } from "../../src/broker/api.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { Life } from "./topics.ts";

const DELAY_MAX_MS = 40 * 86_400_000;

export interface Waiting {
  readonly topic: string;
  readonly life: Life;
  readonly message: NewMessage;
  readonly queueId: number;
  readonly dueAt: number;
  readonly publishedAt: number;
}

export class FakeDelays {
  #waiting: Waiting[] = [];

  /** When a message is due; undefined when it is now. @throws `delay-too-long` */
  dueAt({ deliverAt, delayMs }: NewMessage, now: number): number | undefined {
    const dueAt = delayMs === undefined ? deliverAt : now + Math.ceil(delayMs);
    if (dueAt === undefined || dueAt <= now) return undefined;
    if (dueAt - now <= DELAY_MAX_MS) return dueAt;
    const limitMs = DELAY_MAX_MS;
    throw new TidegateError("delay-too-long", "Cannot delay a message so long", { limitMs });
  }

  add(one: Waiting): void {
    this.#waiting.push(one);
  }

  /** The newest with this id that waits. */
  find(life: Life, id: string): Waiting | undefined {
    return this.#waiting.findLast((one) => one.life === life && one.message.id === id);
  }

  remove(one: Waiting): void {
    this.#waiting = this.#waiting.filter((other) => other !== one);
  }

  /** What is due by now, in order; it waits no longer. */
  takeDue(now: number): Waiting[] {
    const due = this.#waiting.filter(({ dueAt }) => dueAt <= now);
    if (due.length > 0) this.#waiting = this.#waiting.filter(({ dueAt }) => dueAt > now);
    return due.toSorted((a, b) => a.dueAt - b.dueAt); // stable: equal ones in order of call
  }
}
