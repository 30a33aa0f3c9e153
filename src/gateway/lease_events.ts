/**
 * Leased messages as events. They have no id: there is no position to come back
 * to, what a consumer holds is known by its name.
 *
 *   event: lease        one message as JSON, with receipt, attempt and leaseUntil
 *
 * @module
 */

import type { Delivery } from "../broker/api.ts";
import { type Bytes, concat, readable } from "./sse.ts";

export interface LeaseSlice {
  /** Empty when none of them can be read. */
  readonly bytes: Bytes;
  /** The first delivery that is not in it. */
  readonly next: number;
  readonly unreadable: readonly Delivery[];
}

/** It ends with the event that reaches this. */
const SLICE_BYTES = 64 * 1024;

const utf8 = new TextEncoder();
const HEAD = utf8.encode("event: lease\ndata: ");
const END = utf8.encode("\n\n");

/** One delivery at least. */
export function encodeLeases(deliveries: readonly Delivery[], from: number): LeaseSlice {
  const parts: Uint8Array[] = [];
  const unreadable: Delivery[] = [];
  let size = 0;
  let next = from;
  for (; next < deliveries.length && size < SLICE_BYTES; next++) {
    const delivery = deliveries[next] as Delivery;
    const json = readable(delivery, delivery);
    if (!json) {
      unreadable.push(delivery);
      continue;
    }
    parts.push(HEAD, json, END);
    size += HEAD.length + json.length + END.length;
  }
  return { bytes: concat(parts, size), next, unreadable };
}
