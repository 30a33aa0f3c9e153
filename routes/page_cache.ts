/**
 * What caches may keep of a log.
 *
 * A full page that starts at a cursor and ends before the tail never changes:
 * messages are immutable and a cursor names one place in one life of a topic.
 * It may be kept until its oldest message expires, a day at most. A page from
 * `earliest` or a time is the same only until retention, a purge or a new
 * topic of that name moves its start, so it has an ETag and is asked for
 * again; so is one of a topic bounded by bytes, whose expiry nobody can tell.
 *
 * @module
 */

import type { ReadPage, Start, TopicsApi } from "../src/broker/api.ts";
import type { PageForm } from "./accept.ts";

const DAY_SECONDS = 86_400;

export const PAGE_VARY = "Accept, Authorization, Tidegate-Namespace";

/** The cursor says where the page ends and the generation in which life; the count, where it began. */
export function pageETag(page: ReadPage, form: PageForm): string {
  const { generation, cursor, messages } = page;
  return `"${form}-${generation.toString(36)}-${cursor}-${messages.length}"`;
}

/** Whether `If-None-Match` names `etag`; weak comparison, as RFC 9110 §13.1.2 has it. */
export function matches(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((one) => one.trim().replace(/^W\//, "") === etag);
}

/** How long a page may be kept, in whole seconds; 0 when it must be asked for again. */
export async function freshSeconds(
  page: ReadPage,
  about: { start: Start; topic: string; topics: TopicsApi; now: number },
): Promise<number> {
  const oldest = page.messages[0];
  if (about.start.kind !== "cursor" || oldest === undefined) return 0;
  const { retention } = await about.topics.get(about.topic);
  if (retention.bytes !== null) return 0;
  if (retention.timeMs === null) return DAY_SECONDS;
  const expiry = oldest.publishedAt + retention.timeMs;
  return Math.max(0, Math.min(DAY_SECONDS, Math.floor((expiry - about.now) / 1000)));
}
