/**
 * What goes into the replication core and what comes out of it. The shell hands
 * events in, one at a time, with the time; does what the effects say, in order;
 * and decides nothing.
 *
 * What a shell must keep to:
 * - Work on the log and on the promise is done in the order of its effects, and
 *   told of in that order; what is appended is synced without being asked.
 * - `truncate` and `promise` are told of when they would survive power loss.
 * - `looked` is linearizable: what it says was true after the look was asked for.
 * - A swap whose answer does not come is `unknown`, never `changed`.
 * - At `lead` the epoch-start record is appended before any other, and told of.
 *
 * @module
 */

import type { EpochEnd, EpochStart } from "./epoch_table.ts";
import type { GroupState, Member } from "./group_state.ts";
import type { Entries, EntriesHead, Message } from "./messages.ts";

/** What a linearizable read of the coordinator found. */
export interface Sighting {
  /** Of the state; 0 where there is none. Rises with every change of it. */
  readonly revision: number;
  readonly state: GroupState | undefined;
  /** The nodes of the group that are alive, as far as the coordinator knows. */
  readonly live: readonly Member[];
}

/** A change of the group's state, made if all of this holds at that moment. */
export interface Swap {
  readonly revision: number;
  readonly state: GroupState;
  /** Are alive in this boot. */
  readonly alive: readonly Member[];
  /** Is not alive in this boot. */
  readonly gone: Member | undefined;
}

/** A node has stopped acknowledging what is older than `epoch`, to be elected at `revision`. */
export interface Promised {
  readonly epoch: number;
  readonly revision: number;
}

/** Bytes of the log that are not what was written. */
export interface LogRange {
  readonly from: number;
  readonly to: number;
}

/** What a node finds of itself when it starts. */
export interface Restored {
  readonly start: number;
  /** Everything below was synced, by recovery at the latest. */
  readonly end: number;
  /** crc32 of the last frame; 0 for an empty log. */
  readonly lastCrc: number;
  readonly epochs: readonly EpochStart[];
  /** The greatest one any frame or the checkpoint speaks of. */
  readonly confirmOffset: number;
  readonly promised: Promised | undefined;
  readonly damaged: readonly LogRange[];
  /** The disk holds all that it ever said it holds: not after a failed sync, not after a restore. */
  readonly vouches: boolean;
}

export type ReplicaEvent =
  /** Some time has passed: every {@linkcode TICK_MS}. */
  | { readonly kind: "tick" }
  | { readonly kind: "message"; readonly from: string; readonly message: Message }
  | { readonly kind: "looked"; readonly id: number; readonly sighting: Sighting | undefined }
  | { readonly kind: "swapped"; readonly id: number; readonly outcome: SwapOutcome }
  /** A watch says that something may have changed. */
  | { readonly kind: "hint"; readonly sighting?: Sighting }
  /**
   * The node's lease holds until then, on the axis of `now`. `fresh`: it was granted
   * anew, so there may have been a time without.
   */
  | { readonly kind: "leased"; readonly until: number; readonly fresh: boolean }
  /** The leader appended whole units. */
  | { readonly kind: "appended"; readonly end: number; readonly lastCrc: number }
  | { readonly kind: "synced"; readonly end: number }
  | { readonly kind: "truncated"; readonly end: number; readonly lastCrc: number }
  | { readonly kind: "promised"; readonly promised: Promised }
  /** Retention let the log begin later. */
  | { readonly kind: "trimmed"; readonly start: number }
  | { readonly kind: "damaged"; readonly range: LogRange }
  | { readonly kind: "repaired"; readonly range: LogRange }
  /** This node is about to stop. */
  | { readonly kind: "drain" }
  /** An operator accepts loss: this node leads, whatever it holds. */
  | { readonly kind: "force" };

export type SwapOutcome =
  | { readonly kind: "done"; readonly revision: number }
  /** Was not made and never will be. */
  | { readonly kind: "changed" }
  | { readonly kind: "unknown" };

export type Effect =
  | { readonly kind: "send"; readonly to: string; readonly message: Message }
  /** Read whole units from `head.from`, one at least, none beyond `until`, and send them. */
  | {
      readonly kind: "transfer";
      readonly to: string;
      readonly head: EntriesHead;
      readonly frameEpoch: number;
      readonly until: number;
    }
  | { readonly kind: "look"; readonly id: number }
  | { readonly kind: "swap"; readonly id: number; readonly swap: Swap }
  | { readonly kind: "promise"; readonly promised: Promised }
  | { readonly kind: "append"; readonly entries: Entries }
  | {
      readonly kind: "truncate";
      readonly to: number;
      /** Why: logged with it. */
      readonly proof: EpochEnd;
      readonly epoch: number;
    }
  | { readonly kind: "lead"; readonly epoch: number }
  /** Decide nothing any more, or not yet: fold what is confirmed. */
  | { readonly kind: "follow"; readonly epoch: number }
  | { readonly kind: "confirm"; readonly confirmOffset: number }
  /** Written, not yet synced, on every member. */
  | { readonly kind: "replicated"; readonly end: number }
  /** Read the range and send it: `message` without its bytes. */
  | {
      readonly kind: "mend";
      readonly to: string;
      readonly epoch: number;
      readonly boot: string;
      readonly range: LogRange;
    }
  | { readonly kind: "rewrite"; readonly range: LogRange; readonly bytes: unknown }
  /**
   * This life of the node ends: its log is no use any more, for the leader's begins
   * later. It is set aside, and the node begins again on a disk of a new name, in a
   * new boot, where the log of `from` begins; so it does not count until it is taken in anew.
   */
  | { readonly kind: "snapshot"; readonly from: string; readonly epoch: number }
  /** Something that must not be: serve nothing, keep everything, call a person. */
  | { readonly kind: "quarantine"; readonly reason: string };

export const TICK_MS = 100;
