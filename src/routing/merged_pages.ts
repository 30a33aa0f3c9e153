/**
 * Lists that each broker group has a part of: pages of the parts, merged, with tokens
 * that name a place in each.
 *
 *   token   group~token_group~token …   a part that is not named has ended; one with
 *           an empty token has not begun
 *
 * A page ends where it is not known what comes next: when a part's page is used up and
 * there is more of it, it is asked for more, unless it gave nothing, as a search that
 * passed over much does.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";

/** A part's page. */
export interface PartPage<T> {
  readonly items: readonly T[];
  /** The token behind each. */
  readonly cursors: readonly string[];
  /** The token of this very page, where a first one has one. */
  readonly from?: string | undefined;
  /** The token behind the page; absent: there is no more. */
  readonly next?: string | undefined;
}

export interface MergeWish<T> {
  readonly groups: readonly number[];
  readonly after: string | undefined;
  readonly limit: number;
  readonly maxBytes?: number | undefined;
  /** Asks a broker group for a page behind a token. */
  page(group: number, wish: { after: string | undefined; limit: number }): Promise<PartPage<T>>;
  /** Below 0: `a` comes first. */
  compare(a: T, b: T): number;
  sizeOf?(item: T): number;
}

interface Part<T> {
  readonly group: number;
  page: PartPage<T> | undefined;
  at: number;
  /** Behind what was taken; undefined: it has not begun. */
  token: string | undefined;
  ended: boolean;
}

export async function mergePages<T>(
  wish: MergeWish<T>,
): Promise<{ readonly items: readonly T[]; readonly next?: string | undefined }> {
  const parts = partsOf<T>(wish);
  const items: T[] = [];
  let bytes = 0;
  while (items.length < wish.limit) {
    const empty = parts.filter((part) => !part.ended && headOf(part) === undefined);
    if (empty.some(({ page }) => page?.items.length === 0)) break;
    if (empty.length > 0) {
      await Promise.all(empty.map((part) => fill(part, wish, wish.limit - items.length)));
      continue;
    }
    const first = firstOf(parts, wish);
    if (!first) break;
    const item = headOf(first) as T;
    bytes += wish.sizeOf?.(item) ?? 0;
    if (items.length > 0 && bytes > (wish.maxBytes ?? Infinity)) break;
    items.push(item);
    take(first);
  }
  const next = tokenOf(parts);
  return next === undefined ? { items } : { items, next };
}

function headOf<T>({ page, at }: Part<T>): T | undefined {
  return page?.items[at];
}

async function fill<T>(part: Part<T>, wish: MergeWish<T>, limit: number): Promise<void> {
  const page = await wish.page(part.group, { after: part.token, limit });
  part.page = page;
  part.at = 0;
  part.token ??= page.from;
  if (page.items.length > 0) return;
  part.token = page.next ?? part.token;
  part.ended = page.next === undefined;
}

function take<T>(part: Part<T>): void {
  const { page, at } = part;
  part.token = page?.cursors[at];
  part.at++;
  if (!page || part.at < page.items.length) return;
  part.token = page.next;
  part.ended = page.next === undefined;
}

function firstOf<T>(parts: readonly Part<T>[], { compare }: MergeWish<T>): Part<T> | undefined {
  let first: Part<T> | undefined;
  for (const part of parts) {
    const head = headOf(part);
    if (head === undefined) continue;
    if (!first || compare(head, headOf(first) as T) < 0) first = part;
  }
  return first;
}

function tokenOf<T>(parts: readonly Part<T>[]): string | undefined {
  const going = parts.filter(({ ended }) => !ended);
  if (going.length === 0) return undefined;
  return going.map(({ group, token }) => `${group}~${token ?? ""}`).join("_");
}

/** @throws `invalid-cursor` */
function partsOf<T>({ groups, after }: MergeWish<T>): Part<T>[] {
  const begin = (group: number, token: string | undefined): Part<T> => {
    return { group, page: undefined, at: 0, token, ended: false };
  };
  if (after === undefined) return groups.map((group) => begin(group, undefined));
  return after.split("_").map((text) => {
    const [, group = "", token = ""] = /^(\d{1,5})~([0-9a-v.]*)$/.exec(text) ?? [];
    if (!groups.includes(Number(group)) || group === "") {
      throw new TidegateError(
        "invalid-cursor",
        "Cannot read the page token: it is not one of ours",
      );
    }
    return begin(Number(group), token === "" ? undefined : token);
  });
}
