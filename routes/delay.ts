/**
 * When a message is to be delivered, as its publisher says it: a time in
 * RFC 3339, or a delay. Rounded to milliseconds upwards, for nothing may come
 * before the time that was said.
 *
 * @module
 */

import type { NewMessage } from "../src/broker/api.ts";
import { malformed } from "./problem.ts";
import type { RequestHead } from "./request_head.ts";
import { parseTimestamp } from "./timestamp.ts";

export type Delay = Pick<NewMessage, "deliverAt" | "delayMs">;

export const DELIVER_AT_RULE = "must be a time in RFC 3339 from 1970 on";
export const DELAY_RULE = "must be seconds, decimals allowed";
export const DELAY_MS_RULE = "must be milliseconds, 0 or more";
export const ONE_OF_BOTH = "a message has a time or a delay, not both";

/** Milliseconds since the Unix epoch; undefined when `text` does not keep the rule. */
export function readDeliverAt(text: string): number | undefined {
  const floor = parseTimestamp(text);
  const beyondMs = /\.\d{3}(\d+)/.exec(text)?.[1];
  return floor !== undefined && beyondMs !== undefined && /[1-9]/.test(beyondMs)
    ? floor + 1
    : floor;
}

/** Milliseconds of a delay in seconds; undefined when `text` does not keep the rule. */
export function readDelay(text: string): number | undefined {
  const match = /^(\d{1,12})(?:\.(\d{1,12}))?$/.exec(text);
  if (!match) return undefined;
  const [, seconds, decimals = ""] = match;
  const ms = Number(`${seconds}${decimals.slice(0, 3).padEnd(3, "0")}`);
  return /[1-9]/.test(decimals.slice(3)) ? ms + 1 : ms;
}

/** The delay of a publish by headers, or by query parameters; a header wins. @throws `invalid-request` */
export function delayOf(head: RequestHead, query: ReadonlyMap<string, string>): Delay {
  const deliverAt = head.deliverAt ?? query.get("deliverAt");
  const delay = head.delay ?? query.get("delay");
  if (deliverAt !== undefined && delay !== undefined) {
    const pointer = head.delay === undefined ? "/query/delay" : "/header/Delay";
    throw malformed(pointer, ONE_OF_BOTH);
  }
  if (deliverAt !== undefined) {
    const ms = readDeliverAt(deliverAt);
    if (ms !== undefined) return { deliverAt: ms };
    throw head.deliverAt === undefined
      ? malformed("/query/deliverAt", `deliverAt ${DELIVER_AT_RULE}`)
      : malformed("/header/Deliver-At", `Deliver-At ${DELIVER_AT_RULE}`);
  }
  if (delay === undefined) return {};
  const delayMs = readDelay(delay);
  if (delayMs !== undefined) return { delayMs };
  throw head.delay === undefined
    ? malformed("/query/delay", `delay ${DELAY_RULE}`)
    : malformed("/header/Delay", `Delay ${DELAY_RULE}`);
}
