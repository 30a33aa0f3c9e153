/**
 * Tag expressions: `*` for every message, or tags as `a || b || c`.
 *
 * A tag is what a message may have (LIMITS of storage/base/message.ts, no `|`,
 * no control characters); white space around it does not count.
 *
 * @module
 */

import { AttributePicker } from "../../storage/base/attribute_picker.ts";
import { encodeUtf8 } from "../../storage/base/bytes.ts";
import { stableHash } from "../../storage/base/hash.ts";
import { LIMITS } from "../../storage/base/message.ts";
import { type CompiledFilter, filterInvalid } from "./filter.ts";

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

const EVERYTHING: CompiledFilter = {
  all: true,
  tagHashes: undefined,
  matches: () => true,
  matchesPayload: () => true,
};

const TAG_ONLY = new AttributePicker([{ kind: "tag" }]);

/** @throws `filter-invalid` */
export function compileTags(text: string): CompiledFilter {
  if (text.trim() === "*") return EVERYTHING;
  const tags = new Set<string>();
  let from = 0;
  for (const part of text.split("||")) {
    const tag = part.trim();
    const position = from + (tag === "" ? 0 : part.indexOf(tag));
    const fault = tagFault(tag);
    if (fault !== undefined) throw filterInvalid(fault, position);
    tags.add(tag);
    from += part.length + 2;
  }
  const wanted = (tag: string | undefined) => tag !== undefined && tags.has(tag);
  return {
    all: false,
    tagHashes: new Set([...tags].map(stableHash)),
    matches: ({ tag }) => wanted(tag),
    matchesPayload: (payload) => wanted(TAG_ONLY.pick(payload)?.[0]),
  };
}

function tagFault(tag: string): string | undefined {
  if (tag === "") return "a tag is missing";
  if (tag === "*") return "* stands for all tags, so it stands alone";
  if (tag.includes("|")) return "tags are joined by ||, and hold no |";
  if (CONTROL.test(tag)) return "a tag holds no control characters";
  if (!tag.isWellFormed()) return "a tag holds no half of a surrogate pair";
  if (encodeUtf8(tag).length > LIMITS.tagBytes) return `a tag has at most ${LIMITS.tagBytes} bytes`;
  return undefined;
}
