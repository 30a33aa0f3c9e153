/**
 * A position in a stream over several topics, as it is on the wire: one
 * position for each topic, in any order.
 *
 *   orders=0820…,payments=earliest,refunds=time:2026-11-22T08:00:00.000Z
 *
 *   position   entry *("," entry)       1 to 32 entries, each of another topic
 *   entry      topic "=" position       as `after` of that topic's own log
 *              understands it: a cursor, earliest, latest, time:<RFC 3339>
 *
 * Printable ASCII that needs no escaping in a query, and goes into an SSE id and
 * a header as it is. Bounded by the names and the cursors: 32 topics with names
 * of 127 characters are 5.4 KiB, which the usual limits on one header allow.
 *
 * Entries name the topic and not its place in the list, so a position of another
 * set of topics can be read: what is not in it starts anew, what is not asked
 * for is not looked at.
 *
 * @module
 */

import type { Start } from "../src/broker/api.ts";
import { NAME } from "./names.ts";
import { malformed } from "./problem.ts";
import { parseStart } from "./read_request.ts";

export const TOPICS_MAX = 32;

export function formatTopicsPosition(
  entries: readonly { readonly topic: string; readonly position: string }[],
): string {
  return entries.map(({ topic, position }) => `${topic}=${position}`).join(",");
}

/** By topic, where to start. @throws `invalid-request` */
export function parseTopicsPosition(text: string, pointer: string): ReadonlyMap<string, Start> {
  const starts = new Map<string, Start>();
  for (const entry of text.split(",", TOPICS_MAX + 1)) {
    const equals = entry.indexOf("=");
    const topic = entry.slice(0, Math.max(0, equals));
    if (!NAME.test(topic) || starts.has(topic) || starts.size === TOPICS_MAX) {
      throw malformed(
        pointer,
        "the position must be one of a stream over topics, earliest, latest or time:<RFC 3339>",
      );
    }
    starts.set(topic, parseStart(entry.slice(equals + 1), pointer));
  }
  return starts;
}
