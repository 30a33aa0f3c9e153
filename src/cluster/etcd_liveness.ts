/**
 * A lease in etcd, kept alive, and the key that goes with it.
 *
 *             grant            put the key           keep-alive, every second
 *   without ────────▶ granted ─────────────▶ held ──────────────────────────▶ held
 *      ▲                                      │
 *      └──────────────────────────────────────┘ etcd says that it is gone
 *
 * A put of unknown outcome is repeated under the same lease: one that arrives
 * late can then do no harm, as its lease is this one or gone.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type { LivenessEvents } from "./coordinator.ts";
import type { EtcdClient } from "./etcd_client.ts";
import { KEEP_ALIVE_MS, LEASE_TTL_MS, leaseDeadline } from "./lease.ts";

const RETRY_MS = 250;

export class EtcdLiveness {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #key: string;
  readonly #value: string;
  readonly #events: LivenessEvents;
  #lease: { readonly id: string; readonly ttlMs: number } | undefined;
  /** The key is there under the present lease. */
  #held = false;
  #stopped = false;
  #cancel: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(
    client: EtcdClient,
    options: {
      readonly clock: Clock;
      readonly key: string;
      readonly value: string;
      readonly events: LivenessEvents;
    },
  ) {
    this.#client = client;
    this.#clock = options.clock;
    this.#key = options.key;
    this.#value = options.value;
    this.#events = options.events;
    this.#round();
  }

  #round(): void {
    if (this.#stopped) return;
    this.#running = this.#prolong().then(
      (again) => this.#rest(again),
      () => this.#rest(RETRY_MS), // etcd is away: the lease runs out or it comes back
    );
  }

  #rest(delayMs: number): void {
    if (!this.#stopped) this.#cancel = this.#clock.after(delayMs, () => this.#round());
  }

  /** @returns in how many ms to do it again. */
  async #prolong(): Promise<number> {
    const sentAt = this.#clock.elapsed();
    if (!this.#lease) {
      const { lease, ttl } = await this.#client.grant(LEASE_TTL_MS / 1000);
      this.#lease = { id: lease, ttlMs: Math.min(LEASE_TTL_MS, ttl * 1000) };
    } else if ((await this.#client.keepAlive(this.#lease.id)) === 0) {
      this.#lease = undefined;
      this.#held = false;
      return 0;
    }
    const fresh = !this.#held;
    if (fresh) {
      const put = { put: this.#key, value: this.#value, lease: this.#lease.id };
      await this.#client.txn([], [put]);
      this.#held = true;
    }
    if (this.#stopped) return 0;
    const until = leaseDeadline({ sentAt, ttlMs: this.#lease.ttlMs });
    this.#events.onLease({ until, fresh });
    return KEEP_ALIVE_MS;
  }

  /** Keeps it alive no longer: it runs out. */
  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  async end(): Promise<void> {
    this.stop();
    await this.#running;
    if (!this.#lease) return;
    // If etcd is away the lease runs out by itself.
    await this.#client.revoke(this.#lease.id).catch(() => {});
  }
}
