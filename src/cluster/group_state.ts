/**
 * The one key of a broker group that the coordinator keeps: who leads, in which
 * epoch, and whose copies count. Changed by compare-and-swap only.
 *
 *   epoch        rises by one with every election, never otherwise
 *   leader       who won it; undefined before the first, and after a planned handover
 *   heir         whom a leader that stepped down would like to follow it
 *   syncSet      the SyncStateSet: every member holds every confirmed record
 *   minSync      nothing is confirmed while the set is smaller
 *   confirmHint  the leader's confirmOffset at the last change: a log that ends
 *                before it has lost something, and may not lead
 *   unclean      epochs begun by an operator's command, with loss accepted
 *
 * A member is one life of one node on one disk. `node` is a name for all time,
 * `boot` changes with every start, `disk` with every new data directory. What a
 * member has acknowledged holds for that boot; a later boot on the same disk has
 * it too if nothing happened to the disk, and only that node can know.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";

export interface Member {
  readonly node: string;
  readonly boot: string;
  readonly disk: string;
}

export interface GroupState {
  readonly epoch: number;
  readonly leader: Member | undefined;
  readonly heir: string | undefined;
  readonly syncSet: readonly Member[];
  readonly minSync: number;
  readonly confirmHint: number;
  readonly unclean: readonly number[];
}

const FORMAT = 1;

export function sameBoot(a: Member | undefined, b: Member | undefined): boolean {
  return a !== undefined && b !== undefined && a.node === b.node && a.boot === b.boot;
}

export function memberOf(state: GroupState, node: string): Member | undefined {
  return state.syncSet.find((member) => member.node === node);
}

/** Of a group nobody has led: its founder holds all there is, which is nothing. */
export function foundingState(founder: Member, minSync: number): GroupState {
  return {
    epoch: 0,
    leader: undefined,
    heir: undefined,
    syncSet: [founder],
    minSync,
    confirmHint: 0,
    unclean: [],
  };
}

export function encodeGroupState(state: GroupState): string {
  return JSON.stringify({ format: FORMAT, ...state });
}

/** @throws `data-damaged`, or `not-implemented` for the state of a later build. */
export function decodeGroupState(text: string): GroupState {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged("it is no JSON", error);
  }
  if (!isRecord(value)) throw damaged("it is no object");
  if (typeof value["format"] === "number" && value["format"] > FORMAT) {
    const detail = "Cannot read the group's state: it is of a later build";
    throw new TidegateError("not-implemented", detail, { format: value["format"] });
  }
  const { epoch, leader, heir, syncSet, minSync, confirmHint, unclean } = value;
  if (!isCount(epoch) || !isCount(minSync) || !isCount(confirmHint)) throw damaged("a number");
  if (leader !== undefined && !isMember(leader)) throw damaged("leader");
  if (heir !== undefined && typeof heir !== "string") throw damaged("heir");
  if (!Array.isArray(syncSet) || !syncSet.every(isMember)) throw damaged("syncSet");
  if (!Array.isArray(unclean) || !unclean.every(isCount)) throw damaged("unclean");
  return { epoch, leader, heir, syncSet, minSync, confirmHint, unclean };
}

function damaged(what: string, cause?: unknown): TidegateError {
  return new TidegateError("data-damaged", `Cannot read the group's state: ${what}`, {}, cause);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

export function isMember(value: unknown): value is Member {
  if (!isRecord(value)) return false;
  return ["node", "boot", "disk"].every((field) => typeof value[field] === "string");
}
