/**
 * One thing that is measured: how the gateway is filled for it, and one round
 * of it against the gateway and one against the empty handler, which does the
 * same exchange of bytes without the work.
 *
 * @module
 */

import type { Subject } from "./subjects.ts";

export interface Settings {
  /** Length of a round that is not bound by its amount of work. */
  readonly seconds: number;
  /** Smaller amounts, for a check that everything runs. */
  readonly quick: boolean;
}

export interface Measured {
  readonly perSecond: number;
  /** What was done in the round: messages, or events. */
  readonly count: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

export interface Rounds {
  /** Before each of the gateway's rounds, not part of what is measured. */
  refill?(): Promise<void>;
  tidegate(): Promise<Measured>;
  empty(): Promise<Measured>;
  /** After the last round. */
  close?(): void;
}

export interface Scenario {
  /** For `--only`. */
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  prepare(subjects: Subjects, settings: Settings): Promise<Rounds>;
}

export interface Subjects {
  readonly tidegate: Subject;
  readonly empty: Subject;
}

/** 256 B of text, which JSON carries as it is. */
export const MESSAGE_BYTES = 256;
export const PAYLOAD = "m".repeat(MESSAGE_BYTES);

/** A measurement of requests as one of the messages in them. */
export function times(messages: number, requests: Measured): Measured {
  const { count, perSecond } = requests;
  return { ...requests, count: count * messages, perSecond: perSecond * messages };
}
