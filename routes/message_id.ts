/**
 * Generated message ids: seven base-62 digits of the publish time, then chance.
 *
 *   1Yt3RkQ V1StGXR8_Z5jdH
 *   └ time ┘└── nanoid ───┘
 *
 * The digits are in ASCII order and of fixed width until the year 2081, so ids
 * sort by time and a lookup by id needs to look at one or two segments only.
 *
 * @module
 */

import { nanoid } from "nanoid";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TIME_DIGITS = 7;
const CHANCE_DIGITS = 14;

/** What a producer may choose; safe in a path without escaping. */
export const MESSAGE_ID = /^[\w.:-]{1,128}$/;

let lastMs = -1;
let lastPrefix = "";

/** A new id for a message published at `now`, milliseconds since the Unix epoch. */
export function newMessageId(now: number): string {
  if (now !== lastMs) {
    lastMs = now;
    lastPrefix = timePrefix(now);
  }
  return lastPrefix + nanoid(CHANCE_DIGITS);
}

function timePrefix(now: number): string {
  let prefix = "";
  let rest = now;
  for (let i = 0; i < TIME_DIGITS; i++) {
    prefix = DIGITS.charAt(rest % 62) + prefix;
    rest = Math.floor(rest / 62);
  }
  return prefix;
}
