/**
 * What the nodes of a broker group say to each other to keep one log. Any of it
 * may be lost, come twice, late or in another order: each says enough of when
 * and by whom it was meant for a receiver to drop what no longer holds.
 *
 *   follower                                 leader
 *      fetch     where I end, in which epoch ──▶
 *      ◀── entries   the bytes from there on, and how far is confirmed
 *      ◀── diverged  you end beyond what I have of that epoch: cut
 *      ◀── behind    my log begins after your end: take a snapshot
 *      ◀── stale     that epoch is not mine: look at the coordinator
 *      mend      give me these bytes again   ──▶
 *      ◀── mended
 *   candidate                                 members of the SyncStateSet
 *      canvass   I may run for the next epoch ──▶
 *      ◀── standing  how far my log goes
 *
 * @module
 */

import type { EpochEnd } from "./epoch_table.ts";
import type { Member } from "./group_state.ts";

export interface Fetch {
  readonly kind: "fetch";
  readonly epoch: number;
  readonly member: Member;
  /** Rises with every fetch of a boot. */
  readonly id: number;
  /** The follower's end, and its last frame's epoch and crc32. */
  readonly from: number;
  readonly lastEpoch: number;
  readonly lastCrc: number;
  readonly durableEnd: number;
  /** False while bytes of its log are damaged: what it says it has does not count. */
  readonly whole: boolean;
  /** It is about to stop: who can do without it should not wait for it. */
  readonly leaving: boolean;
}

/** What an answer to a fetch begins with. */
export interface AnswerHead {
  readonly epoch: number;
  /** Of the follower that asked. */
  readonly boot: string;
  /** Of the fetch that is answered. */
  readonly id: number;
}

export interface EntriesHead extends AnswerHead {
  readonly from: number;
  readonly confirmOffset: number;
}

/** Whole units of one epoch from `from` on; none of them when `to` is `from`. */
export interface Entries extends EntriesHead {
  readonly kind: "entries";
  readonly to: number;
  /** Of all the frames. */
  readonly frameEpoch: number;
  /** crc32 of the frame before `from`, as the first frame says. */
  readonly prevCrc: number;
  /** Of the last frame. */
  readonly lastCrc: number;
  /** The frames, as they lie in the log. The core does not look into them. */
  readonly bytes: unknown;
}

export interface Diverged extends AnswerHead {
  readonly kind: "diverged";
  readonly proof: EpochEnd;
}

/** Answers a mend as well: what it asks for is no longer there. */
export interface Behind extends AnswerHead {
  readonly kind: "behind";
  readonly start: number;
}

export interface Stale {
  readonly kind: "stale";
  /** The epoch the answering node knows. */
  readonly epoch: number;
}

export interface Mend {
  readonly kind: "mend";
  readonly epoch: number;
  readonly boot: string;
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

export interface Mended {
  readonly kind: "mended";
  readonly epoch: number;
  readonly boot: string;
  readonly from: number;
  readonly to: number;
  readonly bytes: unknown;
}

export interface Canvass {
  readonly kind: "canvass";
  readonly id: number;
}

export interface Standing {
  readonly kind: "standing";
  readonly id: number;
  readonly member: Member;
  readonly lastEpoch: number;
  readonly durableEnd: number;
  /** It may be elected itself. */
  readonly able: boolean;
}

/**
 * The leader's log begins at `start`, and has since so much was confirmed. Not for
 * the core: whoever follows may let go of what is before, once it has confirmed as much.
 */
export interface Began {
  /** Of the leader. */
  readonly epoch: number;
  readonly start: number;
  readonly confirmOffset: number;
}

export type Message =
  | Fetch
  | Entries
  | Diverged
  | Behind
  | Stale
  | Mend
  | Mended
  | Canvass
  | Standing;
