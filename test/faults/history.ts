/**
 * What the clients of a campaign did and saw, in their own words: the only
 * thing the checker judges. Nothing here comes from inside the server.
 *
 * `step` is the recorder's own count of events, so "answered before asked"
 * needs no clock; `…Ms` are wall-clock milliseconds, for leases only.
 *
 * @module
 */

/**
 * `acked`: the server said it is stored. `refused`: it said it is not
 * (`applied: false` or a 4xx). `unknown`: no answer, or one that says unknown.
 */
export type Outcome = "acked" | "refused" | "unknown";

/** One message somebody tried to publish; the id is the producer's own. */
export interface Publish {
  readonly id: string;
  readonly checksum: number;
  readonly key?: string | undefined;
  /** Counts the messages of a key from 0, in the order they were sent one after another. */
  readonly keySeq: number;
  /** Messages of one atomic batch share it. */
  readonly unit?: string | undefined;
  outcome: Outcome;
  /** Of one published for later: nobody has it before, by the clock of whoever published it. */
  dueAtMs?: number;
  /** Where the answer said it lies; that of a commit says nothing. */
  queueId?: number;
  queueOffset?: number;
}

/** A message as a log read gave it. */
export interface Stored {
  readonly id: string;
  readonly checksum: number;
  readonly key?: string | undefined;
  readonly queueId: number;
  readonly queueOffset: number;
}

/** A message given out under a lease. */
export interface Delivery {
  readonly id: string;
  readonly attempt: number;
  readonly receipt: string;
  readonly askedStep: number;
  readonly step: number;
  readonly atMs: number;
  readonly leaseUntilMs: number;
}

/** One receipt in one settle call. */
export interface Settlement {
  readonly receipt: string;
  readonly action: "ack" | "release" | "extend";
  readonly askedStep: number;
  /** Of the answer; absent when there was none. */
  readonly step?: number;
  readonly status?: "ok" | "late" | "lost" | "invalid";
  readonly leaseUntilMs?: number;
}

/** What one log reader saw, in its order, over all its reconnects. */
export interface Reader {
  readonly name: string;
  readonly seen: Stored[];
}

export interface History {
  readonly publishes: Publish[];
  readonly deliveries: Delivery[];
  readonly settlements: Settlement[];
  readonly readers: Reader[];
  /**
   * How far each queue reached when readers and consumers were told to stop, for they had all of it:
   * what became visible later, of publishes that nobody waited for any more, they need not have seen.
   * All of it where that is not known.
   */
  reach: readonly number[];
  /** Requests that got no answer, or one against the contract, from a server that was up. */
  readonly complaints: string[];
  /** How long each start took until the ready line. */
  readonly startsMs: number[];
}

/** The end of a campaign: every queue read from its beginning, and what the group still owes. */
export interface FinalState {
  readonly queues: readonly (readonly Stored[])[];
  readonly lag: number;
}

export function emptyHistory(): History {
  return {
    publishes: [],
    deliveries: [],
    settlements: [],
    readers: [],
    reach: [],
    complaints: [],
    startsMs: [],
  };
}

/** Of each queue, what readers and consumers must have seen. */
export function inTime({ reach }: History, { queues }: FinalState): (readonly Stored[])[] {
  return queues.map((messages, queueId) => messages.slice(0, reach[queueId]));
}
