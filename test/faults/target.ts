/**
 * Where the server of a campaign can be reached right now. It is killed and
 * comes back on another port; clients wait here, connect again and go on.
 *
 * @module
 */

import { Connection, ConnectionLost } from "../e2e/http.ts";

export class Target {
  #ports: readonly number[] = [];
  #turn = 0;
  #wake: (() => void)[] = [];
  #stopped = false;

  /** @param ports any of them will do. */
  up(...ports: readonly number[]): void {
    this.#ports = ports;
    for (const wake of this.#wake.splice(0)) wake();
  }

  down(): void {
    this.#ports = [];
  }

  /** Nobody waits for the server any more. */
  stop(): void {
    this.#stopped = true;
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** The server's port; undefined once the campaign has stopped. */
  async port(): Promise<number | undefined> {
    while (this.#ports.length === 0 && !this.#stopped) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    return this.#ports[this.#turn++ % this.#ports.length];
  }

  /** A connection to the server as soon as there is one; undefined once stopped. */
  async connect(): Promise<Connection | undefined> {
    for (;;) {
      const port = await this.port();
      if (port === undefined) return undefined;
      try {
        return await Connection.open(port);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        await pause(5); // Just killed, and this client is the first to see it.
      }
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
