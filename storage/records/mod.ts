/**
 * The table of record kinds, which the fold, `inspect` and the golden tests
 * walk. A kind is one file: its meaning and layout at the head, its codec below.
 *
 * The numbers and layouts are frozen: a build that comes later adds what it
 * does with a kind, never another layout. An unknown kind halts recovery.
 *
 * @module
 */

import { carryKind } from "./carry.ts";
import { checkKind } from "./check.ts";
import { deadKind } from "./dead.ts";
import { decideKind } from "./decide.ts";
import { defineRecordKind } from "./define.ts";
import { dropKind } from "./drop.ts";
import { epochStartKind } from "./epoch_start.ts";
import { grantKind } from "./grant.ts";
import { headKind } from "./head.ts";
import type { RecordKind } from "./kind.ts";
import { messageKind } from "./message.ts";
import { prepareKind } from "./prepare.ts";
import { recallKind } from "./recall.ts";
import { redriveKind } from "./redrive.ts";
import { revealKind } from "./reveal.ts";
import { seekKind } from "./seek.ts";
import { sentKind } from "./sent.ts";
import { settleKind } from "./settle.ts";
import { skipKind } from "./skip.ts";
import { spanCloseKind } from "./span_close.ts";
import { spanOpenKind } from "./span_open.ts";
import { stateKind } from "./state.ts";

export const KINDS = {
  message: messageKind,
  reveal: revealKind,
  grant: grantKind,
  settle: settleKind,
  skip: skipKind,
  dead: deadKind,
  redrive: redriveKind,
  seek: seekKind,
  prepare: prepareKind,
  decide: decideKind,
  check: checkKind,
  recall: recallKind,
  define: defineRecordKind,
  drop: dropKind,
  head: headKind,
  carry: carryKind,
  state: stateKind,
  "span-open": spanOpenKind,
  "span-close": spanCloseKind,
  sent: sentKind,
  "epoch-start": epochStartKind,
} as const;

export type KindName = keyof typeof KINDS;
export type RecordOf<K extends KindName> = NonNullable<ReturnType<(typeof KINDS)[K]["decode"]>>;

const BY_ID = new Map<number, KindName>(
  Object.entries(KINDS).map(([name, kind]) => [kind.id, name as KindName]),
);

/** Undefined for a kind this build does not know. */
export function kindName(id: number): KindName | undefined {
  return BY_ID.get(id);
}

/** One line about a payload, for people; says so when it is not of its kind. */
export function describePayload(kindId: number, payload: Uint8Array): string {
  const name = kindName(kindId);
  if (!name) return `unknown kind ${kindId}, ${payload.length} bytes`;
  const kind = KINDS[name] as RecordKind<unknown>;
  const record = kind.decode(payload);
  return record === undefined ? "payload does not decode" : kind.describe(record);
}
