/**
 * Resolving the hosts of checkUrls, so that a slow name server holds up little.
 *
 * A lookup of the operating system cannot be called off, and on Node it
 * occupies one of the few threads that also write and sync files. So only a few
 * run at once, and callers who ask for the same name share one.
 *
 * @module
 */

import type { Deadline } from "./deadline.ts";
import { Turns } from "./turns.ts";

/** All addresses of a host; rejects when it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** Half of the threads that Node has for this and for files, together. */
const LOOKUPS_MAX = 2;

export class Names {
  readonly #resolve: Resolve;
  readonly #turns = new Turns(LOOKUPS_MAX);
  readonly #running = new Map<string, Promise<readonly string[]>>();

  constructor(resolve: Resolve) {
    this.#resolve = resolve;
  }

  /** @throws {CheckFailure} when the time is over, or whatever the resolver throws. */
  async addressesOf(host: string, deadline: Deadline): Promise<readonly string[]> {
    const running = this.#running.get(host);
    if (running) return await deadline.race(running);
    const release = await this.#turns.take("", deadline.signal);
    const started = this.#running.get(host);
    if (started) release();
    return await deadline.race(started ?? this.#start(host, release));
  }

  #start(host: string, release: () => void): Promise<readonly string[]> {
    const lookup = this.#resolve(host).finally(() => {
      this.#running.delete(host);
      release();
    });
    this.#running.set(host, lookup);
    return lookup;
  }
}
