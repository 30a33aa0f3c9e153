/**
 * What goes out of the broker, counted while the process lives. What comes in is
 * records, which the log counts.
 *
 * @module
 */

import type { SettleResult } from "./api.ts";

interface Payload {
  readonly payload: Uint8Array;
}

export class Traffic {
  /** By log readers; what a feed shares counts once. */
  readMessages = 0;
  readBytes = 0;
  /** To members of groups, redeliveries among them. */
  leasedMessages = 0;
  leasedBytes = 0;
  /** Publishes, while there was no room on the disk. */
  refusedForRoom = 0;
  readonly settled: Record<SettleResult["status"], number> = {
    ok: 0,
    late: 0,
    lost: 0,
    invalid: 0,
  };

  read(messages: readonly Payload[]): void {
    this.readMessages += messages.length;
    for (const { payload } of messages) this.readBytes += payload.length;
  }

  leased(messages: readonly Payload[]): void {
    this.leasedMessages += messages.length;
    for (const { payload } of messages) this.leasedBytes += payload.length;
  }

  settle(results: readonly SettleResult[]): void {
    for (const { status } of results) this.settled[status]++;
  }
}
