/**
 * Latency fault tolerance: which broker groups a message without a key should rather
 * not be sent to. RocketMQ's idea: who was slow is avoided for a while, the longer the
 * slower it was; who failed, for as long as an election takes.
 *
 *   answered in ms   avoided for ms
 *   below 550        0
 *   550              2000
 *   1000             5000
 *   3000             15000
 *   failed           3000
 *
 * Avoided is not forbidden: where all are, any will do.
 *
 * @module
 */

/** Slowest first. */
const PENALTIES = [
  { latencyMs: 3000, avoidMs: 15_000 },
  { latencyMs: 1000, avoidMs: 5000 },
  { latencyMs: 550, avoidMs: 2000 },
] as const;

const FAILED_MS = 3000;

export class FaultTolerance {
  /** By broker group: until when it is avoided, by the elapsed clock. */
  readonly #until = new Map<number, number>();

  answered(group: number, { latencyMs, now }: { latencyMs: number; now: number }): void {
    if (latencyMs < 550) return;
    const penalty = PENALTIES.find((one) => latencyMs >= one.latencyMs);
    if (penalty) this.#avoid(group, now + penalty.avoidMs);
  }

  failed(group: number, now: number): void {
    this.#avoid(group, now + FAILED_MS);
  }

  isAvoided(group: number, now: number): boolean {
    if (this.#until.size === 0) return false;
    const until = this.#until.get(group);
    if (until === undefined) return false;
    if (until > now) return true;
    this.#until.delete(group);
    return false;
  }

  #avoid(group: number, until: number): void {
    this.#until.set(group, Math.max(until, this.#until.get(group) ?? 0));
  }
}
