/**
 * Some attributes of an encoded message, without decoding the others: what a
 * filter needs of each of thousands.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, equalBytes, viewOf } from "./bytes.ts";
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
      const from = at + 3;
      at = from + view.getUint16(at + 1);
      if (at > range.to) return undefined;
      if (tag === TAG.property) {
        if (!this.#pickProperty(picked, payload.subarray(from, at))) return undefined;
        continue;
      }
      const index = tag === TAG.tag ? this.#tagIndex : tag === TAG.key ? this.#keyIndex : -1;
      if (index >= 0) picked[index] = decodeUtf8(payload.subarray(from, at));
    }
    return picked;
  }

  /** False when the sizes disagree. */
  #pickProperty(picked: (string | undefined)[], property: Uint8Array): boolean {
    if (property.length < 2) return false;
    const nameSize = viewOf(property).getUint16(0);
    if (2 + nameSize > property.length) return false;
    const sameSize = this.#properties.get(nameSize);
    if (!sameSize) return true;
    const name = property.subarray(2, 2 + nameSize);
    const found = sameSize.find((one) => equalBytes(one.name, name));
    if (found) picked[found.index] = decodeUtf8(property.subarray(2 + nameSize));
    return true;
  }
}
