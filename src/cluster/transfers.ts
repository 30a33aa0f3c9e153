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

import type { Effect } from "./effects.ts";
import type { Message } from "./messages.ts";
import type { Pace } from "./pace.ts";
import type { ReplicaLog } from "./replica_log.ts";

type Transfer = Effect & { readonly kind: "transfer" };
type MendEffect = Effect & { readonly kind: "mend" };

/** Bytes at once, but for a unit that is larger. */
export const TRANSFER_BYTES_MAX = 1024 * 1024;

export interface TransfersParts {
  readonly log: Pick<ReplicaLog, "transfer" | "mend">;
  /** Of all that do not count, together. */
  readonly pace: Pace;
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
  #stopped = false;

  constructor(parts: TransfersParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#stopped = true;
    this.#parts.pace.stop();
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
      if (!next.counts) await this.#parts.pace.turn();
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
    const maxBytes = counts ? TRANSFER_BYTES_MAX : this.#parts.pace.share;
    const wish = { from: head.from, until, epoch: frameEpoch, maxBytes };
    const units = await this.#parts.log.transfer(wish);
    if (!units || this.#stopped) return;
    if (!counts) this.#parts.pace.spend(units.bytes.length);
    this.#parts.send(to, { kind: "entries", ...head, frameEpoch, ...units });
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
