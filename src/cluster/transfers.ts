/**
 * Bytes of the log for other members: read where they lie, and sent.
 *
 *   member of the set   at once: publishes wait for it
 *   others              at a rate: they come from far behind, and what they take of
 *                       the disk and the network the members do not get
 *
 * At most one transfer to a node is under way and one waits: the newest, for a
 * follower that asks again no longer wants what it asked for before.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { Effect } from "./effects.ts";
import type { Message } from "./messages.ts";
import type { ReplicaLog } from "./replica_log.ts";

type Transfer = Effect & { readonly kind: "transfer" };
type MendEffect = Effect & { readonly kind: "mend" };

/** Bytes at once, but for a unit that is larger. */
export const TRANSFER_BYTES_MAX = 1024 * 1024;
const TRANSFER_BYTES_MIN = 64 * 1024;
/** Of others' bytes that may pass at once: a follower does not wait longer than that for them. */
const BURST_MS = 100;

export interface TransfersParts {
  readonly clock: Clock;
  readonly log: Pick<ReplicaLog, "transfer" | "mend">;
  readonly bytesPerSecond: number;
  send(to: string, message: Message): void;
  failed(error: unknown): void;
}

interface Line {
  busy: boolean;
  next: { readonly transfer: Transfer; readonly counts: boolean } | undefined;
}

export class Transfers {
  readonly #parts: TransfersParts;
  readonly #lines = new Map<string, Line>();
  readonly #mending = new Set<string>();
  readonly #timers = new Set<() => void>();
  /** From when on the rate has room again, for all that do not count together. */
  #freeAt = 0;
  #stopped = false;

  constructor(parts: TransfersParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    this.#lines.clear();
  }

  transfer(transfer: Transfer, { counts }: { readonly counts: boolean }): void {
    if (this.#stopped) return;
    const { to } = transfer;
    const line = this.#lines.get(to) ?? { busy: false, next: undefined };
    this.#lines.set(to, line);
    line.next = { transfer, counts };
    if (!line.busy) void this.#run(line);
  }

  async #run(line: Line): Promise<void> {
    line.busy = true;
    for (let next = line.next; next && !this.#stopped; next = line.next) {
      if (!next.counts) await this.#turn();
      const { transfer, counts } = line.next ?? next; // a newer one may have come meanwhile
      line.next = undefined;
      try {
        await this.#send(transfer, counts);
      } catch (error) {
        this.#parts.failed(error);
      }
    }
    line.busy = false;
  }

  async #send(transfer: Transfer, counts: boolean): Promise<void> {
    const { to, head, until, frameEpoch } = transfer;
    const maxBytes = counts ? TRANSFER_BYTES_MAX : this.#share;
    const wish = { from: head.from, until, epoch: frameEpoch, maxBytes };
    const units = await this.#parts.log.transfer(wish);
    if (!units || this.#stopped) return;
    if (!counts) this.#spend(units.bytes.length);
    this.#parts.send(to, { kind: "entries", ...head, frameEpoch, ...units });
  }

  get #share(): number {
    const bytes = Math.floor((this.#parts.bytesPerSecond * BURST_MS) / 1000);
    return Math.min(TRANSFER_BYTES_MAX, Math.max(TRANSFER_BYTES_MIN, bytes));
  }

  #spend(bytes: number): void {
    const now = this.#parts.clock.elapsed();
    this.#freeAt = Math.max(this.#freeAt, now) + (bytes * 1000) / this.#parts.bytesPerSecond;
  }

  /** Resolves when the rate has room. */
  async #turn(): Promise<void> {
    const { clock } = this.#parts;
    for (;;) {
      const waitMs = this.#freeAt - clock.elapsed();
      if (waitMs <= 0 || this.#stopped) return;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(Math.ceil(waitMs), () => {
          this.#timers.delete(stop);
          resolve();
        });
        const stop = () => {
          cancel();
          resolve();
        };
        this.#timers.add(stop);
      });
    }
  }

  mend(mend: MendEffect): void {
    const { to } = mend;
    if (this.#stopped || this.#mending.has(to)) return; // it asks again
    this.#mending.add(to);
    this.#mend(mend)
      .catch((error: unknown) => this.#parts.failed(error))
      .finally(() => this.#mending.delete(to));
  }

  async #mend({ to, epoch, boot, range }: MendEffect): Promise<void> {
    const bytes = await this.#parts.log.mend(range);
    if (!bytes || this.#stopped) return;
    this.#parts.send(to, { kind: "mended", epoch, boot, ...range, bytes });
  }
}
