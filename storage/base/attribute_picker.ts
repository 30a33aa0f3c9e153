/**
 * Some attributes of an encoded message, without decoding the others: what a
 * filter needs of each of thousands.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, viewOf } from "./bytes.ts";
import { attributesRange } from "./message.ts";
import { TAG } from "./message_attributes.ts";

/** The tag, the key, or a user property by its name. */
export type AttributeName =
  | { readonly kind: "tag" }
  | { readonly kind: "key" }
  | { readonly kind: "property"; readonly name: string };

interface PickedProperty {
  readonly name: Uint8Array;
  readonly index: number;
}

export class AttributePicker {
  readonly #count: number;
  /** Where to put them; −1: nobody asked. */
  readonly #tagIndex: number;
  readonly #keyIndex: number;
  /** By the size of their names, so that most others are told apart at once. */
  readonly #properties = new Map<number, PickedProperty[]>();

  /** @param names distinct. */
  constructor(names: readonly AttributeName[]) {
    this.#count = names.length;
    this.#tagIndex = names.findIndex(({ kind }) => kind === "tag");
    this.#keyIndex = names.findIndex(({ kind }) => kind === "key");
    for (const [index, one] of names.entries()) {
      if (one.kind !== "property") continue;
      const name = encodeUtf8(one.name);
      const sameSize = this.#properties.get(name.length) ?? [];
      this.#properties.set(name.length, [...sameSize, { name, index }]);
    }
  }

  /**
   * The values in the order of the names, undefined where the message has none;
   * of two properties with one name, the later. Undefined altogether when the
   * payload is not a message: its sizes disagree.
   */
  pick(payload: Uint8Array): (string | undefined)[] | undefined {
    const view = viewOf(payload);
    const range = attributesRange(payload, view);
    if (!range) return undefined;
    const picked = Array.from<string | undefined>({ length: this.#count });
    for (let at = range.from; at < range.to; ) {
      if (at + 3 > range.to) return undefined;
      const tag = payload[at];
      let from = at + 3;
      at = from + view.getUint16(at + 1);
      if (at > range.to) return undefined;
      let index = -1;
      if (tag === TAG.property) {
        const nameEnd = from + 2 + (from + 2 <= at ? view.getUint16(from) : 0);
        if (nameEnd > at) return undefined;
        index = this.#propertyIndex(payload, { from: from + 2, to: nameEnd });
        from = nameEnd;
      } else if (tag === TAG.tag) index = this.#tagIndex;
      else if (tag === TAG.key) index = this.#keyIndex;
      if (index >= 0) picked[index] = decodeUtf8(payload.subarray(from, at));
    }
    return picked;
  }

  #propertyIndex(
    payload: Uint8Array,
    { from, to }: { readonly from: number; readonly to: number },
  ): number {
    const sameSize = this.#properties.get(to - from) ?? NONE;
    for (const { name, index } of sameSize) {
      let same = 0;
      while (same < name.length && name[same] === payload[from + same]) same++;
      if (same === name.length) return index;
    }
    return -1;
  }
}

const NONE: readonly PickedProperty[] = [];
